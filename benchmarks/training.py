"""Speed of a training step (forward, backward, AdamW) beside ParakeetEncoder, with the same weights, in the same run.

python -m benchmarks.training                   # 4 layers, about three minutes on two cores
"""

from pathlib import Path

import torch
from rich.progress import track

from .common import BATCHES, SPEED, compare, features, parse_arguments, report
from .peers import pair


def make_step(encoder, frames, mask):
    encoder.train()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-5)

    def step():
        states, *_, valid = encoder(frames, mask)
        (states.square() * valid.unsqueeze(-1)).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def main():
    options = {"peer": "parakeet", "layers": 4, "repeats": 5, "device": "cpu"}
    arguments = parse_arguments(__doc__, **options, output=Path("outputs/training.json"))

    rows = []
    for name in track(["8 clips of 3 s", "16 clips of 1 to 15 s"], "Measuring", transient=True):
        model, peer = pair(arguments.peer, arguments.layers, arguments.device)
        frames, mask = features(BATCHES[name], arguments.device, peer.bins, peer.frames_per_second)
        steps = [make_step(encoder, frames, mask) for encoder in (model.encoder, peer)]
        rows.append({"input": name} | compare(*steps, arguments.repeats))
    columns = {
        "input": lambda row: row["input"],
        **SPEED,
    }
    title = f"Training step, {arguments.layers} layers, beside {arguments.peer}, {arguments.threads} threads"
    report(title, rows, columns, arguments.output, layers=arguments.layers)


if __name__ == "__main__":
    main()
