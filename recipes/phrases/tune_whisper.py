"""Fine-tunes the big model of build_whisper.py on pairs: our pooling, the projection and Whisper's last layers.

    python -m recipes.phrases.build_whisper whisper-base      # to compare with
    python -m recipes.phrases.tune_whisper whisper-base       # a quarter of an hour; outputs/phrases_whisper_tuned
    python -m recipes.phrases.evaluate --no-dtw --no-robustness outputs/phrases_whisper outputs/phrases_whisper_tuned

The loss is the InfoNCE of `train`, without a teacher. Segments are cut by a learned mass. Training hears clips of up to
1.1 s, so that Whisper reads windows of 3 s, at a tenth of the cost; the model that is written takes up to 8 s.
"""

from pathlib import Path
from typing import Annotated

import torch
import typer
from torchaudio.functional import resample
from transformers import TrainingArguments, set_seed

from modeling_audio_branch import AudioBranchFeatureExtractor, AudioBranchModel
from modeling_audio_branch.cli.common import exit_on_error
from modeling_audio_branch.disk import DiskError, writing

from ..emotion.resume import last_checkpoint
from .audio import SAMPLE_RATE
from .build_whisper import build
from .dataset import PhrasePairs, TrainingClip, collate, load_set
from .teacher import FREE_SETS, LAYER, RATE
from .train import make_training_arguments
from .trainer import DevRetrievalCallback, PhraseTrainer

LONGEST = 1.1  # seconds of a clip; slower, with a pause and silence at its ends, it still fits into WINDOW
WINDOW = 3  # seconds that Whisper reads in training


def collate_for_whisper(pairs: list) -> dict[str, torch.Tensor]:
    """A batch of `collate` at Whisper's rate: raw audio (2 N, 2 L), its mask, and spans in seconds."""
    batch = collate(pairs)
    batch["input_features"] = resample(batch["input_features"], SAMPLE_RATE, RATE)
    batch["attention_mask"] = batch["attention_mask"].repeat_interleave(RATE // SAMPLE_RATE, dim=1)
    return batch


def short_clips(longest: float) -> list[TrainingClip]:
    """The clips of the free sets that last at most `longest` seconds."""
    clips = [clip for name in FREE_SETS for clip in load_set(name, with_teacher=False)]
    return [clip for clip in clips if clip.record.length <= longest * SAMPLE_RATE]


def train_on_pairs(
    trainer_class: type[PhraseTrainer],
    model: AudioBranchModel,
    clips: list[TrainingClip],
    arguments: TrainingArguments,
    batch_seconds: float,
    callback: DevRetrievalCallback,
) -> PhraseTrainer:
    """Trains a model on Whisper's encoder on pairs of clips, or resumes its training; returns the trainer."""
    trainer = trainer_class(
        model,
        arguments,
        data_collator=collate_for_whisper,
        train_dataset=PhrasePairs(clips, context=0.0),
        processing_class=AudioBranchFeatureExtractor.from_model(model),
        batch_seconds=batch_seconds,
        callbacks=[callback],
    )
    trainer.train(resume_from_checkpoint=last_checkpoint(Path(arguments.output_dir)))
    return trainer


def main(
    whisper: Annotated[Path, typer.Argument(help="Folder of a Whisper model in Transformers' format")],
    output: Annotated[Path, typer.Option(help="Folder of the model")] = Path("outputs/phrases_whisper_tuned"),
    steps: Annotated[int, typer.Option(help="Optimizer steps in all")] = 300,
    layers: Annotated[int, typer.Option(help="Last layers of the encoder that are trained")] = 1,
    seconds: Annotated[float, typer.Option(help="Speech in a batch, on either side of its pairs")] = 20,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate")] = 1e-4,
    minutes: Annotated[float, typer.Option(help="Stop after this time; the next call resumes")] = 180,
    max_seconds: Annotated[int, typer.Option(help="Longest clip of the model that is written")] = 8,
    development: Annotated[int, typer.Option(help="Steps between measurements on the development sets; 0: none")] = 100,
) -> None:
    """Fine-tunes Whisper base under our segment pooling on pairs of clips of one text."""
    clips = short_clips(LONGEST)
    set_seed(0)
    with exit_on_error(ValueError, DiskError), writing(output):
        complete = build(whisper, max_seconds, segmentation="learned")
        model = build(whisper, WINDOW, segmentation="learned")
        model.freeze(LAYER - layers)
        arguments = make_training_arguments(output / "training", steps, learning_rate, seed=0, workers=0)
        callback = DevRetrievalCallback(minutes, every=development)
        train_on_pairs(PhraseTrainer, model, clips, arguments, seconds, callback)
        state = model.state_dict()
        # The positions are not trained, and as many as the window is long.
        trained = {name: value for name, value in state.items() if "embed_positions" not in name}
        complete.load_state_dict(trained, strict=False)
        complete.save_pretrained(output)


if __name__ == "__main__":
    typer.run(main)
