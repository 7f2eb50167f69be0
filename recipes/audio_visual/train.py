"""Trains a fusion of Audio Branch and an image or video encoder on RAVDESS' videos, and evaluates it on other speakers.

    python -m recipes.audio_visual.train RAVDESS --audio checkpoints/phrases --video google/vit-base-patch16-224

The folds are the 6 of EmoBox. README.md in this folder lists more commands and what is written.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from accelerate import PartialState
from rich.console import Console

from modeling_audio_branch.disk import DiskError, writing
from modeling_audio_branch.hub.writing import replaced_file
from recipes.audio_visual.data import drop_unusable, load_ravdess_videos
from recipes.audio_visual.fold import SIDES, train_fold
from recipes.audio_visual.model.fusion import FUSIONS
from recipes.audio_visual.settings import TrainingSettings
from recipes.emotion.cross_validation import choose_folds, describe_protocol
from recipes.emotion.metrics import bootstrap_ci
from recipes.emotion.recordings import DataError, Recording
from recipes.emotion.report import Evaluation, to_table, write_report
from recipes.emotion.resume import describe_run, start_or_continue
from recipes.emotion.splits import emobox_split

console = Console(stderr=True)


def main(
    source: Annotated[Path, typer.Argument(help="The folder of Actor_01 to Actor_24 with the videos of RAVDESS.")],
    audio: Annotated[str, typer.Option(help="Audio Branch checkpoint to start from: a folder or a Hub id.")],
    video: Annotated[str, typer.Option(help="Image or video encoder to start from: a folder or a Hub id.")],
    fusion: Annotated[str, typer.Option(help="concat, gated, cross_attention or liquid.")] = "cross_attention",
    output: Annotated[Path, typer.Option(help="Folder for everything that is written.")] = Path("outputs/ravdess_av"),
    fold: Annotated[int, typer.Option(help="1 to 6; 0 for all.")] = 0,
    fusion_dim: Annotated[int, typer.Option(help="Width of the fusion.")] = 128,
    frames_per_segment: Annotated[int, typer.Option(help="Frames that an image encoder sees of each segment.")] = 2,
    modality_dropout: Annotated[float, typer.Option(help="Share of training clips that lose a side.")] = 0.2,
    freeze_audio: Annotated[bool, typer.Option(help="Train the fusion only on this side.")] = False,
    freeze_video: Annotated[bool, typer.Option(help="Train the fusion only on this side.")] = True,
    epochs: float = 20.0,
    steps: Annotated[int, typer.Option(help="Optimizer steps in place of epochs.")] = -1,
    batch_size: int = 8,
    accumulate: Annotated[int, typer.Option(help="Batches for one optimizer step.")] = 2,
    learning_rate: float = 3e-4,
    label_smoothing: float = 0.1,
    workers: Annotated[int, typer.Option(help="Processes that decode videos.")] = 0,
    bf16: bool = False,
    seed: int = 0,
):
    """Train on RAVDESS' videos, and report the results on speakers held out of training."""
    try:
        if fusion not in FUSIONS:
            raise DataError(f"--fusion {fusion} was given; give {', '.join(FUSIONS)}.")
        settings = TrainingSettings(
            audio=audio,
            video=video,
            fusion=fusion,
            fusion_dim=fusion_dim,
            frames_per_segment=frames_per_segment,
            modality_dropout=modality_dropout,
            freeze_audio=freeze_audio,
            freeze_video=freeze_video,
            epochs=epochs,
            steps=steps,
            batch_size=batch_size,
            accumulate=accumulate,
            learning_rate=learning_rate,
            label_smoothing=label_smoothing,
            workers=workers,
            bf16=bf16,
        )
        recordings, left_out = drop_unusable(load_ravdess_videos(source))
        for name, reason in left_out if PartialState().is_main_process else []:
            console.print(f"Left out: {name} {reason}.", markup=False, soft_wrap=True)
        with writing(output):
            evaluations = cross_validate(recordings, fold, seed, settings, output)
            if PartialState().is_main_process:
                report(output, evaluations)
    except (DataError, DiskError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from None


def cross_validate(
    recordings: list[Recording], fold: int, seed: int, settings: TrainingSettings, output: Path
) -> dict[str, Evaluation]:
    """Trains one model for each fold, saved to `output`/fold-N; an evaluation with each set of sides.

    Raises:
        DataError: A fold can't be split or trained, or `output` holds another run.
    """
    folds = choose_folds(fold, recordings)
    labels = sorted({recording.label for recording in recordings})
    splits = {fold: emobox_split(recordings, fold) for fold in folds}
    if PartialState().is_main_process:
        for fold in folds:
            run = describe_run(splits[fold], labels, seed, settings, settings.audio, settings.video)
            start_or_continue(output / f"fold-{fold}", run)
    predictions = [train_fold(splits[fold], labels, seed, settings, output / f"fold-{fold}") for fold in folds]
    tested = [recording for fold in folds for recording in splits[fold].test]
    return {
        side: Evaluation(
            protocol=describe_protocol(folds, is_ravdess=True, are_speakers_known=True),
            folds=folds,
            seed=seed,
            settings=settings,
            labels=labels,
            targets=[labels.index(recording.label) for recording in tested],
            predictions=np.concatenate([found[side] for found in predictions]),
            speakers=[recording.speaker for recording in tested],
        )
        for side in SIDES
    }


def report(output: Path, evaluations: dict[str, Evaluation]) -> None:
    """Writes the report of recipes/emotion, and sides.md with the metrics where a side is missing."""
    results = write_report(output, "RAVDESS speech with picture", "CC-BY-NC-SA-4.0", evaluations["both"])
    lines = ["| sides given | UA | WA | macro-F1 |", "| --- | --- | --- | --- |"]
    for side, evaluation in evaluations.items():
        found = bootstrap_ci(evaluation.targets, evaluation.predictions, evaluation.speakers)
        cells = [f"{each.value:.3f} ({each.low:.3f} to {each.high:.3f})" for each in found.values()]
        lines.append(f"| {side} | {' | '.join(cells)} |")
    with replaced_file(output / "sides.md") as file:
        file.write_text("\n".join([*lines, ""]), encoding="utf-8")
    Console(width=max(80, console.width)).print(to_table(results))
    console.print(f"Written to {output / 'report.md'} and {output / 'sides.md'}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
