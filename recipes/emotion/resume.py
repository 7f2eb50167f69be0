"""Continuing a training that was stopped: what belongs to a run, and its last complete checkpoint."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from modeling_audio_branch.hub.writing import replaced_file
from recipes.emotion.recordings import DataError
from recipes.emotion.settings import TrainingSettings
from recipes.emotion.splits import Splits


@dataclass
class Run:
    """Everything that decides what is trained in a folder.

    Args:
        settings: How it is trained.
        weights: SHA-256 of each weight file of the checkpoints; none of a repository of the Hub, which is taken to stay
            as it is.
        seed: Of the splits and of the training.
        labels: Names of the labels.
        clips: Names of the recordings of each split.
    """

    settings: TrainingSettings
    weights: list[str]
    seed: int
    labels: list[str]
    clips: dict[str, list[str]]


def describe_run(splits: Splits, labels: list[str], seed: int, settings: TrainingSettings, *checkpoints: str) -> Run:
    """The run that starts from these checkpoints."""
    files = [file for checkpoint in checkpoints for file in sorted(Path(checkpoint).glob("*.safetensors"))]
    return Run(
        settings=settings,
        weights=[hashlib.sha256(file.read_bytes()).hexdigest() for file in files],
        seed=seed,
        labels=labels,
        clips={name: [recording.name for recording in split] for name, split in vars(splits).items()},
    )


def start_or_continue(output: Path, run: Run) -> None:
    """Writes the run to `output`/training/run.json.

    Raises:
        DataError: The folder holds a run that differs from this one.
        DiskError: The file cannot be written.
    """
    file = output / "training" / "run.json"
    text = json.dumps(asdict(run), indent=1, sort_keys=True)
    if file.exists() and file.read_text(encoding="utf-8") != text:
        earlier = json.loads(file.read_text(encoding="utf-8"))
        different = ", ".join(sorted(name for name, value in asdict(run).items() if earlier.get(name) != value))
        raise DataError(f"{output} holds a run with other {different}; give another --output, or delete the folder.")
    with replaced_file(file) as written:
        written.write_text(text, encoding="utf-8")


def last_checkpoint(training_folder: Path) -> str | None:
    """The last checkpoint that Trainer has written completely, to continue from; None before the first."""
    states = training_folder.glob("checkpoint-*/trainer_state.json")  # Trainer writes this file last
    checkpoints = sorted((path.parent for path in states), key=lambda path: int(path.name.split("-")[1]))
    return str(checkpoints[-1]) if checkpoints else None
