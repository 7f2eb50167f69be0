"""Speed of a training step (forward, backward, AdamW) beside ParakeetEncoder, with the same weights, in the same run.

python -m benchmarks.training                   # 4 layers, about three minutes on two cores
"""

from pathlib import Path

import torch
from rich.progress import track

from .common import BATCHES, SPEED, compare, features, pair, parse_arguments, report


def make_step(encoder, frames, mask):
    encoder.train()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-5)

    def step():
        output = encoder(frames, mask)
        states, valid = (output[0], output[2]) if isinstance(output, tuple) else output.to_tuple()[:2]
        (states.square() * valid.unsqueeze(-1)).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def main():
    arguments = parse_arguments(__doc__, layers=4, repeats=5, device="cpu", output=Path("outputs/training.json"))

    rows = []
    for name in track(["8 clips of 3 s", "16 clips of 1 to 15 s"], "Measuring", transient=True):
        model, peer = pair(arguments.layers, arguments.device)
        frames, mask = features(BATCHES[name], arguments.device)
        steps = [make_step(encoder, frames, mask) for encoder in (model.encoder, peer)]
        rows.append({"input": name} | compare(*steps, arguments.repeats))
    columns = {
        "input": lambda row: row["input"],
        **SPEED,
    }
    title = f"Training step, {arguments.layers} layers, beside ParakeetEncoder (sdpa), {arguments.threads} threads"
    report(title, rows, columns, arguments.output, layers=arguments.layers)


if __name__ == "__main__":
    main()
