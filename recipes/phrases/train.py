"""Trains segment embeddings that find the same phrase said by another speaker.

    python -m recipes.phrases.prepare
    python -m recipes.phrases.words
    python -m recipes.phrases.train --minutes 45      # repeat until it is done: each call resumes the previous one
    python -m recipes.phrases.evaluate outputs/phrases

Two clips of the same text are augmented and embedded. Each has to find the other among all clips of the batch by its 8
segment features, compared in order.
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
from .clips import load_clips
from .dataset import PhrasePairs, collate
from .trainer import DevRetrievalCallback, PhraseTrainer


def make_config(**settings) -> AudioBranchConfig:
    """8 kHz, so that telephone and studio recordings have the same band; small enough for two CPU cores."""
    front_end = {"sample_rate": SAMPLE_RATE, "n_fft": 512, "win_length": 200, "hop_length": 48, "n_mels": 64}
    encoder = {"num_layers": 4, "d_model": 192, "num_heads": 4, "conv_kernel_size": 9, "conv_norm": "layer"}
    subsampling = {"subsampling": "dw_striding", "subsampling_factor": 8, "subsampling_channels": 96}
    masks = {"apply_spec_augment": True, "num_freq_masks": 2, "freq_mask_width": 8, "num_time_masks": 2}
    return AudioBranchConfig(**(front_end | encoder | subsampling | masks | {"dropout": 0.0} | settings))


def make_training_arguments(folder: Path, steps: int, learning_rate: float, seed: int) -> TrainingArguments:
    return TrainingArguments(
        str(folder),
        max_steps=steps,
        learning_rate=learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=min(100, steps // 10),
        weight_decay=0.01,
        logging_steps=20,
        save_steps=100,
        save_total_limit=1,
        remove_unused_columns=False,
        seed=seed,
        report_to="none",
        use_cpu=not torch.cuda.is_available(),
    )


def main(
    output: Annotated[Path, typer.Option(help="Folder of the model and its training state")] = Path("outputs/phrases"),
    minutes: Annotated[float, typer.Option(help="Stop after this time; the next call resumes")] = 180,
    steps: Annotated[int, typer.Option(help="Optimizer steps in all")] = 1000,
    seconds: Annotated[float, typer.Option(help="Speech in a batch, on either side of its pairs")] = 120,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate")] = 1e-3,
    start: Annotated[Path | None, typer.Option(help="Checkpoint whose weights to start from")] = None,
    num_segments: Annotated[int, typer.Option(help="Segments of a clip")] = 8,
    pooling: Annotated[str, typer.Option(help="attention, max, avg or learnable")] = "attention",
    seed: Annotated[int, typer.Option(help="Of weights, batches and augmentation")] = 0,
) -> None:
    """Trains segment embeddings that find the same phrase said by another speaker."""
    data = PhrasePairs(load_clips("train", "prepare"), load_clips("words", "words"))
    set_seed(seed)
    config = make_config(num_segments=num_segments, pooling_type=pooling)
    if start:  # parameters of another pooling, which the checkpoint lacks, are initialized; transformers reports them
        model = AudioBranchModel.from_pretrained(start, config=config, ignore_mismatched_sizes=True)
    else:
        model = AudioBranchModel(config)
    trainer = PhraseTrainer(
        model,
        make_training_arguments(output / "training", steps, learning_rate, seed),
        data_collator=collate,
        train_dataset=data,
        processing_class=AudioBranchFeatureExtractor.from_model(model),
        batch_seconds=seconds,
        callbacks=[DevRetrievalCallback(minutes, every=100)],
    )
    with exit_on_error(DiskError), writing(output):
        trainer.train(resume_from_checkpoint=last_checkpoint(output / "training"))
        trainer.save_model(str(output))


if __name__ == "__main__":
    typer.run(main)
