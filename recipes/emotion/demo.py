"""Fine-tunes on real speech from beginning to end: 42 phrases of a game, spoken by 8 people in two languages.

    python -m recipes.emotion.demo        # or: make train-demo; about 6 minutes on two cores
    python -m recipes.emotion.demo --checkpoint outputs/phrases_whisper --output outputs/whisper_demo    # another model

Downloads the Debian package kajongg (5 MB, unpacked below data/ and not installed), and runs recipes.emotion.train on
it, from the checkpoint that ships if no other is given. Each speaker is in the test split of one fold, and never in its
training split. That checkpoint was not trained on these recordings, but its settings were chosen on them, which
flatters the results a little.
"""

import csv
import shutil
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from recipes.debian_audio import DATA, KAJONGG, PACKAGES, install, kajongg_phrases
from recipes.emotion import train

CHECKPOINT = Path(__file__).parents[2] / "checkpoints" / "phrases"
SUITS = {"b": "bamboo", "c": "character", "d": "dragon", "s": "stone", "w": "wind"}


def main(
    steps: Annotated[int, typer.Option(help="Optimizer steps of each fold in place of 15 epochs, for a try.")] = -1,
    output: Annotated[Path, typer.Option(help="Folder for everything that is written.")] = Path("outputs/emotion_demo"),
    checkpoint: Annotated[str, typer.Option(help="Audio Branch checkpoint to start from.")] = str(CHECKPOINT),
    freeze_epochs: Annotated[float, typer.Option(help="Epochs with a frozen encoder; -1: always.")] = 0.0,
):
    """Fine-tune on the phrases of the game Kajongg, and report the results on speakers held out of training."""
    if shutil.which("apt-get") is None:
        _stop("apt-get is missing, which downloads the recordings; run recipes.emotion.train on data of your own.")
    try:
        install([KAJONGG], PACKAGES)
    except subprocess.CalledProcessError as error:
        _stop(f"The package {KAJONGG} is not available: {error.stderr.decode().strip()}; run apt-get update first.")
    table = DATA / "kajongg.csv"
    write_table(table)
    train.main(
        "csv",
        str(table),
        checkpoint=checkpoint,
        output=output,
        epochs=15.0,
        steps=steps,
        batch_size=32,
        learning_rate=1e-3,
        freeze_epochs=freeze_epochs,
        dataset_license="GPL-2+",
    )


def write_table(path: Path) -> None:
    """A CSV file with the path, the label and the speaker of each phrase."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "speaker"])
        for language, speakers in kajongg_phrases().items():
            for audio in [audio for speaker in speakers for audio in speaker]:
                writer.writerow([audio, label_of(audio.stem), f"{language} {audio.parent.name}"])


def label_of(name: str) -> str:
    """The phrase in a file of this name: `b7`, a tile, is bamboo 7; other names are phrases already."""
    return f"{SUITS[name[0]]} {name[1]}" if len(name) == 2 else name


def _stop(message: str) -> None:
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
