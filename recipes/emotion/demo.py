"""A small fine-tuning from beginning to end on real speech: 42 phrases of a game, said by 8 people in two languages.

    python examples/train_demo.py        # or: make train-demo; some minutes on two cores

Downloads the Debian package kajongg (5 MB; it is unpacked below data/, not installed), and runs examples/finetune.py on
it from the default checkpoint: folds that part the people, so that each is heard for the first time when it is tested.
The checkpoint was not trained on these recordings, but its settings were chosen on them, which flatters it a little.
"""

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import typer

sys.path.insert(0, str(Path(__file__).parent))
import finetune
from phrases_data import DATA, DEVELOPMENT, development_phrases, install

CHECKPOINT = Path(__file__).parents[1] / "checkpoints" / "phrases"
SUITS = {"b": "bamboo", "c": "character", "d": "dragon", "s": "stone", "w": "wind"}


def label_of(name: str) -> str:
    """`b7`, a tile, is bamboo 7; other names stay."""
    return f"{SUITS[name[0]]} {name[1]}" if len(name) == 2 else name


def main():
    if shutil.which("apt-get") is None:
        sys.exit("There is no apt-get here to download the recordings; run examples/finetune.py on data of your own.")
    try:
        install([DEVELOPMENT], DATA / "root")
    except subprocess.CalledProcessError as error:
        sys.exit(f"The package {DEVELOPMENT} can't be had: {error.stderr.decode().strip()}; try apt-get update first.")
    table = DATA / "kajongg.csv"
    with open(table, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "speaker"])
        for language, people in zip(("default", "de"), development_phrases(), strict=True):
            for path in [path for person in people for path in person]:
                writer.writerow([path, label_of(path.stem), f"{language} {path.parent.name}"])
    options = "--epochs 15 --learning-rate 1e-3 --freeze-epochs 0 --batch-size 32 --dataset-license GPL-2+"
    arguments = ["csv", table, "--checkpoint", CHECKPOINT, "--output", "outputs/train_demo", *options.split()]
    sys.argv[1:] = map(str, arguments)
    typer.run(finetune.main)


if __name__ == "__main__":
    main()
