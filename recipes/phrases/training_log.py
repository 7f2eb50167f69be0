"""The course of a training: loss and recall on the development sets.

    python -m recipes.phrases.training_log outputs/phrases     # a table, and outputs/phrases/training.png

The table has up to 25 measurements, the picture all of them.
"""

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from matplotlib.figure import Figure

from modeling_audio_branch.cli.common import exit_on_error
from modeling_audio_branch.disk import DiskError
from modeling_audio_branch.plots.style import save_figure, styled

from ..emotion.resume import last_checkpoint

MAX_ROWS = 25  # of a table


@dataclass(frozen=True)
class Measurement:
    """At a step: the mean loss since the last measurement, the learning rate, and R@1 in percent by set."""

    step: int
    loss: float
    learning_rate: float
    recall: dict[str, float]


def read_training(folder: Path) -> list[Measurement]:
    """The measurements of the newest checkpoint in FOLDER/training.

    Raises:
        ValueError: There are none.
    """
    checkpoint = last_checkpoint(folder / "training")
    entries = json.loads((Path(checkpoint) / "trainer_state.json").read_text())["log_history"] if checkpoint else []
    measurements, losses = [], []
    for entry in entries:
        if "loss" in entry:
            losses.append(entry)
        elif "development" in entry and losses:
            loss = statistics.mean(each["loss"] for each in losses)
            measurements.append(Measurement(entry["step"], loss, losses[-1]["learning_rate"], entry["development"]))
            losses = []
    if not measurements:
        raise ValueError(f"{folder / 'training'} holds no measurement on the development sets; train for longer.")
    return measurements


def training_table(measurements: list[Measurement]) -> str:
    """Markdown: up to 25 measurements at equal distances, the last one among them."""
    names = list(measurements[0].recall)
    lines = [f"| step | loss | learning rate | {' | '.join(names)} |", "| --- |" + " --- |" * (2 + len(names))]
    every = -(-len(measurements) // MAX_ROWS)
    for each in measurements[::-1][::every][::-1]:
        recall = [f"{each.recall[name]:.1f}" for name in names]
        lines.append(f"| {' | '.join([f'{each.step}', f'{each.loss:.2f}', f'{each.learning_rate:.1e}', *recall])} |")
    return "\n".join(lines)


@styled
def draw_training(measurements: list[Measurement]) -> Figure:
    """Loss on the left, recall by set on the right, over the steps."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [each.step for each in measurements]
    left.plot(steps, [each.loss for each in measurements])
    left.set(title="Loss", xlabel="step")
    for name in measurements[0].recall:
        right.plot(steps, [each.recall[name] for each in measurements], label=name)
    right.set(title="Development sets", xlabel="step", ylabel="R@1 in percent", ylim=(0, 100))
    right.legend()
    return figure


def main(
    folder: Annotated[Path, typer.Argument(help="Output folder of a training")] = Path("outputs/phrases"),
) -> None:
    """Prints the course of a training, and draws it."""
    with exit_on_error(ValueError, DiskError):
        measurements = read_training(folder)
        print(training_table(measurements))
        save_figure(draw_training(measurements), folder / "training.png")


if __name__ == "__main__":
    typer.run(main)
