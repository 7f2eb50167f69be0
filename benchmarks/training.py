"""Speed of a training step (forward, backward, AdamW) compared with ParakeetEncoder, with the same weights.

python -m benchmarks.training                   # 4 layers, about three minutes on two cores
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import typer
from rich.progress import track

from .inputs import BATCHES, batch_of_features
from .measuring import Speed, compare
from .peers import pair
from .report import SPEED_COLUMNS, report

INPUTS = ["8 clips of 3 s", "16 clips of 1 to 15 s"]


@dataclass
class Row:
    input: str
    speed: Speed


def make_step(encoder, frames, mask):
    """A function that makes one training step."""
    encoder.train()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-5)

    def step():
        states, *_, valid = encoder(frames, mask)
        (states.square() * valid.unsqueeze(-1)).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def main(
    peer: str = "parakeet",
    layers: int = 4,
    repeats: int = 5,
    device: str = "cpu",
    threads: int = torch.get_num_threads(),
    output: Path = Path("outputs/training.json"),
) -> None:
    """Measure the speed of a training step compared with another encoder that has the same weights."""
    torch.set_num_threads(threads)
    rows = []
    for name in track(INPUTS, "Measuring", transient=True):
        model, other = pair(peer, layers, device)
        frames, mask = batch_of_features(BATCHES[name], device, other.bins, other.frames_per_second)
        steps = [make_step(encoder, frames, mask) for encoder in (model.encoder, other)]
        rows.append(Row(name, compare(*steps, repeats)))
    columns = {"input": lambda row: row.input, **SPEED_COLUMNS}
    title = f"Training step, {layers} layers, compared with {peer}, {threads} threads"
    report(title, rows, columns, output, layers=layers)


if __name__ == "__main__":
    typer.run(main)
