"""Fine-tunes a classifier of labelled speech with Trainer, and evaluates it on speakers held out of training.

    python -m recipes.emotion.train ravdess RAVDESS --checkpoint checkpoints/phrases     # the 6 folds of EmoBox

README.md in this folder lists more commands, the layouts of the data, and what is written.
"""

from pathlib import Path
from typing import Annotated

import typer
from accelerate import PartialState
from rich.console import Console

from modeling_audio_branch.disk import DiskError, writing
from modeling_audio_branch.hub.errors import CardError, UploadError
from modeling_audio_branch.hub.push import push_checkpoint
from recipes.emotion.cross_validation import cross_validate
from recipes.emotion.data import load_recordings
from recipes.emotion.recordings import DataError, Recording, drop_unusable
from recipes.emotion.report import Evaluation, to_table, write_report
from recipes.emotion.settings import TrainingSettings

CORPUS_NAMES = {"ravdess": "RAVDESS speech", "crema-d": "CREMA-D"}
console = Console(stderr=True)


def main(
    kind: Annotated[str, typer.Argument(help="ravdess, crema-d, folder, csv or hub.")],
    source: Annotated[str, typer.Argument(help="The folder, the CSV file, or the name of the data set on the Hub.")],
    checkpoint: Annotated[str, typer.Option(help="Audio Branch checkpoint to start from: a folder or a Hub id.")],
    output: Annotated[Path, typer.Option(help="Folder for everything that is written.")] = Path("outputs/emotion"),
    fold: Annotated[int, typer.Option(help="1 to 6 (fewer with fewer speakers); 0 for all.")] = 0,
    epochs: float = 20.0,
    steps: Annotated[int, typer.Option(help="Optimizer steps in place of epochs.")] = -1,
    batch_size: int = 16,
    accumulate: Annotated[int, typer.Option(help="Batches for one optimizer step.")] = 1,
    learning_rate: float = 3e-4,
    layer_decay: Annotated[float, typer.Option(help="Learning rate of a layer divided by that of the next.")] = 0.8,
    freeze_epochs: Annotated[float, typer.Option(help="Epochs with a frozen encoder; -1: always (as --lora).")] = 1.0,
    lora: Annotated[bool, typer.Option("--lora", help="Train adapters of the frozen encoder's attention.")] = False,
    class_weights: Annotated[bool, typer.Option(help="Weight rare labels more.")] = True,
    label_smoothing: float = 0.1,
    augment: Annotated[bool, typer.Option(help="Change the speed, add noise, limit the bandwidth.")] = True,
    spec_augment: Annotated[bool, typer.Option(help="Mask spans of time and frequency.")] = False,
    bf16: bool = False,
    checkpointing: Annotated[bool, typer.Option(help="Compute activations twice, to save memory.")] = False,
    seed: int = 0,
    split: Annotated[str, typer.Option(help="Of a data set of the Hub.")] = "train",
    audio_column: Annotated[str | None, typer.Option(help="Default: 'path' in CSV files, 'audio' on the Hub.")] = None,
    label_column: str = "label",
    speaker_column: Annotated[str | None, typer.Option(help="Default: 'speaker', if it exists.")] = None,
    dataset_license: Annotated[str, typer.Option(help="Licence of the data, for results.json.")] = "unknown",
    push: Annotated[str | None, typer.Option(help="USER/NAME on the Hub, to publish the first fold's model.")] = None,
    license: Annotated[str | None, typer.Option(help="Licence of the published weights, as the Hub names it.")] = None,
):
    """Fine-tune a classifier on labelled speech, and report its results on speakers held out of training."""
    settings = TrainingSettings(
        checkpoint=checkpoint,
        epochs=epochs,
        steps=steps,
        batch_size=batch_size,
        accumulate=accumulate,
        learning_rate=learning_rate,
        layer_decay=layer_decay,
        lora=lora,
        freeze_epochs=freeze_epochs,
        class_weights=class_weights,
        label_smoothing=label_smoothing,
        augment=augment,
        spec_augment=spec_augment,
        bf16=bf16,
        checkpointing=checkpointing,
    )
    try:
        if push and not license:
            raise DataError("--push needs --license, the licence of the weights, such as gpl-2.0.")
        recordings = load_usable(kind, source, split, audio_column, label_column, speaker_column)
        with writing(output):
            evaluation = cross_validate(recordings, fold, seed, settings, output, is_ravdess=kind == "ravdess")
            if PartialState().is_main_process:
                report(output, CORPUS_NAMES.get(kind, Path(source).name), dataset_license, evaluation)
        if push and PartialState().is_main_process:
            model = output / f"fold-{evaluation.folds[0]}"
            push_checkpoint(model, push, metrics=output / "results.json", license=license)
    except (DataError, UploadError, CardError, DiskError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from None


def load_usable(kind: str, source: str, *split_and_columns) -> list[Recording]:
    """The recordings that can be read; the others are listed on the terminal (see `load_recordings`)."""
    recordings, left_out = drop_unusable(load_recordings(kind, source, *split_and_columns))
    for name, reason in left_out if PartialState().is_main_process else []:
        console.print(f"Left out: {name} {reason}.", markup=False, soft_wrap=True)
    return recordings


def report(output: Path, dataset: str, license: str, evaluation: Evaluation) -> None:
    """Writes the report, and shows the results on the terminal."""
    table = to_table(write_report(output, dataset, license, evaluation))
    Console(width=max(80, console.width)).print(table)
    console.print(f"Written to {output / 'report.md'}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
