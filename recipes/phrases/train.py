"""Trains segment embeddings that find the same phrase said by another speaker.

    python -m recipes.phrases.train --minutes 45      # repeat until it is done: each call resumes the previous one
    python -m recipes.phrases.evaluate outputs/phrases

Two clips of the same text are augmented and embedded. Each has to find the other among all clips of the batch by its 8
segment features, compared in order. They also learn from a teacher's embeddings of the clips (teacher.py). README.md
lists the commands that come before.
"""

from pathlib import Path
from typing import Annotated

import torch
import typer
from transformers import TrainingArguments, set_seed

from modeling_audio_branch import AudioBranchConfig, AudioBranchFeatureExtractor, AudioBranchModel
from modeling_audio_branch.cli.common import exit_on_error
from modeling_audio_branch.disk import DiskError, writing

from ..emotion.resume import last_checkpoint
from .audio import SAMPLE_RATE
from .bfloat16 import use_bfloat16
from .dataset import PhrasePairs, collate, load_set
from .teacher import FREE_SETS
from .trainer import DevRetrievalCallback, PhraseTrainer

DECAY = 0.3  # of the steps, the last ones: the part in which the learning rate falls to 0


def make_config(**settings) -> AudioBranchConfig:
    """8 kHz, so that telephone and studio recordings have the same band; 7.5 M parameters.

    A frame sees 0.38 s on each side, so that a part of a long recording is embedded as if it were cut out. Segments are
    cut by a learned mass of frames (with the poolings that allow it), so that silence at the ends and pauses matter
    little.
    """
    front_end = {"sample_rate": SAMPLE_RATE, "n_fft": 512, "win_length": 200, "hop_length": 48, "n_mels": 64}
    encoder = {"num_layers": 6, "d_model": 224, "num_heads": 4, "conv_kernel_size": 9, "conv_norm": "layer"}
    subsampling = {"subsampling": "dw_striding", "subsampling_factor": 8, "subsampling_channels": 96}
    masks = {"apply_spec_augment": True, "num_freq_masks": 2, "freq_mask_width": 8, "num_time_masks": 2}
    defaults = front_end | encoder | subsampling | masks | {"dropout": 0.0, "attention_window": 8}
    if settings.get("pooling_type", "attention") in ("attention", "avg"):
        defaults["segmentation"] = "learned"
    return AudioBranchConfig(**(defaults | settings))


def make_training_arguments(
    folder: Path, steps: int, learning_rate: float, seed: int, workers: int
) -> TrainingArguments:
    return TrainingArguments(
        str(folder),
        max_steps=steps,
        learning_rate=learning_rate,
        lr_scheduler_type="warmup_stable_decay",  # so that a training can be prolonged before its decay
        lr_scheduler_kwargs={"num_decay_steps": int(DECAY * steps)},
        warmup_steps=min(200, steps // 10),
        weight_decay=0.01,
        logging_steps=20,
        save_steps=250,
        save_total_limit=1,
        remove_unused_columns=False,
        seed=seed,
        report_to="none",
        dataloader_num_workers=workers,
        bf16=torch.cuda.is_available(),
    )


def main(
    output: Annotated[Path, typer.Option(help="Folder of the model and its training state")] = Path("outputs/phrases"),
    minutes: Annotated[float, typer.Option(help="Stop after this time; the next call resumes")] = 180,
    steps: Annotated[int, typer.Option(help="Optimizer steps in all")] = 2_900,
    seconds: Annotated[float, typer.Option(help="Speech in a batch, on either side of its pairs")] = 120,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate")] = 5e-4,
    start: Annotated[Path | None, typer.Option(help="Checkpoint whose weights to start from")] = None,
    num_segments: Annotated[int, typer.Option(help="Segments of a clip")] = 8,
    pooling: Annotated[str, typer.Option(help="attention, max, avg or learnable")] = "attention",
    seed: Annotated[int, typer.Option(help="Of weights, batches and augmentation")] = 0,
    sets: Annotated[list[str], typer.Option(help="Sets of clips to train on")] = list(FREE_SETS),  # noqa: B006
    teacher: Annotated[bool, typer.Option(help="Learn from the teacher's features, too")] = True,
    workers: Annotated[int, typer.Option(help="Processes that augment clips; 0: the one that trains")] = 0,
    development: Annotated[int, typer.Option(help="Steps between measurements on the development sets; 0: none")] = 250,
) -> None:
    """Trains segment embeddings that find the same phrase said by another speaker."""
    data = PhrasePairs([clip for name in sets for clip in load_set(name, teacher)])
    set_seed(seed)
    # cuDNN plans each convolution and attention anew for every new shape, and no two batches have the same.
    torch.backends.cudnn.enabled = False
    torch.backends.cuda.enable_cudnn_sdp(False)
    config = make_config(num_segments=num_segments, pooling_type=pooling)
    if start:  # parameters of another pooling, which the checkpoint lacks, are initialized; transformers reports them
        model = AudioBranchModel.from_pretrained(start, config=config, ignore_mismatched_sizes=True)
    else:
        model = AudioBranchModel(config)
    use_bfloat16(model)
    trainer = PhraseTrainer(
        model,
        make_training_arguments(output / "training", steps, learning_rate, seed, workers),
        data_collator=collate,
        train_dataset=data,
        processing_class=AudioBranchFeatureExtractor.from_model(model),
        batch_seconds=seconds,
        callbacks=[DevRetrievalCallback(minutes, every=development)],
    )
    with exit_on_error(DiskError), writing(output):
        trainer.train(resume_from_checkpoint=last_checkpoint(output / "training"))
        trainer.save_model(str(output))


if __name__ == "__main__":
    typer.run(main)
