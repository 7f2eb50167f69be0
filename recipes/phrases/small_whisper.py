r"""Fine-tunes a small Whisper encoder, tiny.en, under our segment pooling on pairs of clips of one text.

    python -m recipes.phrases.small_whisper whisper-tiny.en      # a quarter of an hour; each call resumes
    python -m recipes.phrases.ship --source outputs/phrases_small_whisper --target checkpoints/phrases_whisper \
        --template recipes/phrases/card_template_whisper.md --whisper whisper-base:5 --whisper whisper-tiny.en:-1

The loss is the InfoNCE of `train`, without a teacher. Segments are cut by a learned mass. The projection starts as a
random one of standardised features. The convolutions and the first two of four layers stay as they are: where all
learn, or where it is trained for longer, the speech of people is forgotten for that of synthesizers. Whisper reads
windows of whole seconds, as long as a batch needs; the model that is written takes clips of up to 6 s.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import torch
import typer
from transformers import set_seed

from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.cli.common import exit_on_error
from modeling_audio_branch.disk import DiskError, writing

from .bfloat16 import use_bfloat16
from .dataset import TrainingClip
from .embedding import embed
from .teacher import RATE, SEGMENTS
from .train import make_training_arguments
from .trainer import DevRetrievalCallback, PhraseTrainer
from .tune_whisper import short_clips, train_on_pairs

LONGEST = 2.0  # seconds of a clip; slower, with a pause and silence at its ends, it still fits into MAX_SECONDS
MAX_SECONDS = 6  # of the model that is written
MARGIN = 0.3  # seconds of silence at the least after a clip
SAMPLE_CLIPS = 600  # whose features are standardised
SAVE_STEPS = 50


@contextmanager
def window(model: AudioBranchModel, seconds: int) -> Iterator[None]:
    """Lets Whisper's encoder read windows of `seconds` in place of its own, which are longer."""
    encoder, adapter = model.encoder.model, model.front_end.adapter
    whole, positions = adapter.extractor.chunk_length, encoder.embed_positions.num_embeddings

    def set_length(length: int):
        adapter.max_samples = adapter.extractor.n_samples = length * RATE
        encoder.config.max_source_positions = encoder.embed_positions.num_embeddings = positions * length // whole

    set_length(seconds)
    try:
        yield
    finally:
        set_length(whole)


class WindowTrainer(PhraseTrainer):
    """PhraseTrainer in which Whisper reads no longer windows than a batch needs."""

    def compute_loss(self, model, inputs, **options):
        samples = inputs["input_features"].shape[1]
        with window(self.model, min(MAX_SECONDS, math.ceil(samples / RATE + MARGIN))):
            return super().compute_loss(model, inputs, **options)


@torch.no_grad()
def standardise(model: AudioBranchModel, clips: list[TrainingClip]) -> None:
    """Makes the projection a random one of the encoder's segments, each component standardised by some of the clips."""
    norm, linear = model.projection[:2]
    normed, chosen = [], torch.randperm(len(clips))[:SAMPLE_CLIPS].tolist()
    hook = norm.register_forward_hook(lambda module, inputs, output: normed.append(output.flatten(0, -2)))
    embed(model, [clips[index].waveform() for index in chosen])
    hook.remove()
    mean, deviation = torch.cat(normed).mean(0), torch.cat(normed).std(0)
    weight = torch.randn_like(linear.weight) / math.sqrt(linear.in_features) / deviation
    linear.weight.copy_(weight)
    linear.bias.copy_(-weight @ mean)


def main(
    whisper: Annotated[Path, typer.Argument(help="Folder of a Whisper model in Transformers' format")],
    output: Annotated[Path, typer.Option(help="Folder of the model")] = Path("outputs/phrases_small_whisper"),
    minutes: Annotated[float, typer.Option(help="Stop after this time; the next call resumes")] = 180,
    steps: Annotated[int, typer.Option(help="Optimizer steps in all")] = 150,
    seconds: Annotated[float, typer.Option(help="Speech in a batch, on either side of its pairs")] = 80,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate")] = 1e-4,
    seed: Annotated[int, typer.Option(help="Of the projection, batches and augmentation")] = 0,
    frozen: Annotated[int, typer.Option(help="First layers of the encoder that stay as they are")] = 2,
    development: Annotated[int, typer.Option(help="Steps between measurements on the development sets; 0: none")] = 50,
) -> None:
    """Fine-tunes a Whisper encoder under our segment pooling on pairs of clips of one text."""
    clips = short_clips(LONGEST)
    set_seed(seed)
    with exit_on_error(ValueError, DiskError), writing(output):
        model = AudioBranchModel.from_encoder(
            whisper,
            max_seconds=MAX_SECONDS,
            num_segments=SEGMENTS,
            pooling_type="avg",
            segmentation="learned",
            use_temporal_encoding=False,
        )
        standardise(model, clips)
        model.freeze(frozen)
        use_bfloat16(model)
        arguments = make_training_arguments(output / "training", steps, learning_rate, seed, workers=0)
        arguments.save_steps = SAVE_STEPS
        callback = DevRetrievalCallback(minutes, every=development)
        train_on_pairs(WindowTrainer, model, clips, arguments, seconds, callback).save_model(str(output))


if __name__ == "__main__":
    typer.run(main)
