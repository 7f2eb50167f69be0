"""Training of small models on the generated set with Trainer.

S segments, F frames, T log-mel frames.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from transformers import Trainer, TrainingArguments, ViTConfig, set_seed

from modeling_audio_branch import AudioBranchConfig, AudioBranchFeatureExtractor
from recipes.audio_visual.collator import only, pad_rows
from recipes.audio_visual.generated import FRAME_RATE, LABELS, RATE, SIZE, GeneratedClip, make_clips, read_speech
from recipes.audio_visual.model import AudioVisualConfig, AudioVisualForClassification, AudioVisualProcessor
from recipes.debian_audio import PACKAGES, install

TRAINING_SPEECH, TEST_SPEECH = "fillets-ng-data-cs", "fillets-ng-data-nl"  # Czech actors, Dutch actors
TRAINING_CLIPS, TEST_CLIPS = 1600, 400
STEPS = {"both": 400, "either": 50}
LEARNING_RATE = 2e-3
DEMO_SEED = 0
SIDES = ("both", "audio", "video")


def small_config(fusion: str, task: str = "both", **settings) -> AudioVisualConfig:
    """About 50,000 parameters: one Conformer layer and one layer of a ViT.

    Neither side tells where a segment is in the clip: the fusion alone knows.
    """
    audio = AudioBranchConfig(
        num_layers=1,
        d_model=32,
        num_heads=2,
        feature_dim=32,
        n_mels=16,
        sample_rate=RATE,
        n_fft=512,
        hop_length=160,
        win_length=400,
        normalize="all_features",
        subsampling="dw_striding",
        subsampling_factor=2,
        subsampling_channels=16,
        position_embedding="none",
        conv_kernel_size=5,
        ff_expansion_factor=2,
        pooling_type="avg",
        use_temporal_encoding=False,
        dropout=0.0,
    )
    video = ViTConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=SIZE,
        patch_size=SIZE // 2,
    )
    labels = dict(enumerate(LABELS[task]))
    sizes = {"fusion_dim": 32, "num_heads": 4, "frames_per_segment": 2, "dropout": 0.0}
    return AudioVisualConfig(
        audio_config=audio,
        video_config=video,
        fusion=fusion,
        id2label=labels,
        label2id={name: number for number, name in labels.items()},
        **(sizes | settings),
    )


def to_rows(clips: list[GeneratedClip], config: AudioVisualConfig) -> list[dict]:
    """The inputs of each clip, with log-mel frames in place of raw audio, so that no epoch computes them again."""
    processor = AudioVisualProcessor.from_model_config(config)
    extractor = AudioBranchFeatureExtractor.from_model_config(config.audio_config)
    rows = []
    for clip in clips:
        batch = processor(frames=clip.frames, frame_rate=FRAME_RATE, audio=clip.samples, sampling_rate=RATE)
        batch |= extractor(clip.samples, sampling_rate=RATE, return_tensors="pt")
        rows.append({name: value[0] for name, value in batch.items()} | {"labels": clip.label})
    return rows


@cache
def speech_of(package: str, root: Path = PACKAGES) -> np.ndarray:
    """The speech of a Debian package, which is downloaded where it is missing."""
    install([package], root)
    paths = sorted(path for path in (root / package).rglob("*") if path.suffix in (".ogg", ".wav"))
    # Files of one scene are neighbours: every second one of them brings in twice as many scenes.
    return read_speech(paths[::2])


@cache
def generated_rows(task: str) -> tuple[list[dict], list[dict]]:
    """Rows of training and test; no voice is in both."""
    config = small_config("concat", task)
    training = make_clips(speech_of(TRAINING_SPEECH), TRAINING_CLIPS, seed=0, task=task)
    test = make_clips(speech_of(TEST_SPEECH), TEST_CLIPS, seed=1, task=task)
    return to_rows(training, config), to_rows(test, config)


@dataclass(frozen=True)
class Job:
    """One training.

    Args:
        fusion: Of the model.
        seed: Of its weights and the order of the clips.
        task: `both` or `either` (see `generated`).
        side: The side that the model is trained and tested on, or `both`.
        modality_dropout: See [`AudioVisualConfig`].
    """

    fusion: str
    seed: int
    task: str = "both"
    side: str = "both"
    modality_dropout: float = 0.0

    @property
    def name(self) -> str:
        """Of the job in results.json."""
        return "-".join(map(str, (self.task, self.fusion, self.side, self.modality_dropout, self.seed)))


def make_trainer(
    config: AudioVisualConfig, rows: list[dict], folder: Path, steps: int, seed: int, **arguments
) -> Trainer:
    """Trainer of a new model with random weights from the seed."""
    set_seed(seed)
    settings = {"learning_rate": LEARNING_RATE, "save_strategy": "no", "disable_tqdm": True} | arguments
    return Trainer(
        AudioVisualForClassification(config),
        TrainingArguments(
            str(folder),
            max_steps=steps,
            per_device_train_batch_size=32,
            per_device_eval_batch_size=50,
            weight_decay=0.01,
            warmup_steps=0.1,  # share of all steps
            lr_scheduler_type="cosine",
            remove_unused_columns=False,
            label_names=["labels"],
            report_to="none",
            seed=seed,
            use_cpu=not torch.cuda.is_available(),
            **settings,
        ),
        data_collator=pad_rows,
        train_dataset=rows,
    )


def predict(trainer: Trainer, rows: list[dict]) -> np.ndarray:
    """The predicted labels (N,) of the rows, in their order."""
    return trainer.predict(rows).predictions.argmax(-1)


def run_job(job: Job, folder: Path, steps: int | None = None) -> dict[str, list[int]]:
    """Trains, and returns the predicted labels of the test clips with the sides `both`, `audio` and `video`.

    A model of one side is tested on that side alone.
    """
    training, test = generated_rows(job.task)
    config = small_config(job.fusion, job.task, modality_dropout=job.modality_dropout)
    trainer = make_trainer(config, only(training, job.side), folder, steps or STEPS[job.task], job.seed)
    trainer.train()
    sides = SIDES if job.side == "both" else (job.side,)
    return {side: predict(trainer, only(test, side)).tolist() for side in sides}
