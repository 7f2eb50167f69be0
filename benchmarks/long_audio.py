"""Time and peak memory of the encoder on long audio, each in a process of its own.

python -m benchmarks.long_audio                 # ours, about five minutes on two cores
python -m benchmarks.long_audio --peer          # and ParakeetEncoder on 10 minutes: four minutes more, and 8 GB
"""

import functools
import json
import multiprocessing
import resource
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.progress import track

from .inputs import batch_of_features
from .measuring import timed
from .peers import Parakeet, ours
from .report import report


@dataclass
class Case:
    input: str
    seconds: float
    window: int | None = None
    is_peer: bool = False


CASES = [
    Case("10 min, full attention", 600.0),
    Case("10 min, window 128", 600.0, window=128),
    Case("1 hour, window 128", 3600.0, window=128),
]
PEER_CASES = [Case("10 min, full attention", 600.0, is_peer=True)]


@dataclass
class Row:
    input: str
    encoder: str
    audio_s: float
    s: float
    peak_gb: float


def measure(case: Case, layers: int, threads: int) -> Row:
    torch.set_num_threads(threads)
    frames, mask = batch_of_features([case.seconds])
    encoder = Parakeet(layers).eval() if case.is_peer else ours(layers, attention_window=case.window).encoder
    with torch.no_grad():
        seconds = timed(functools.partial(encoder, frames, mask))
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return Row(case.input, "Parakeet" if case.is_peer else "ours", case.seconds, seconds, peak_gb)


def main(
    layers: int = 17,
    peer: Annotated[bool, typer.Option("--peer", help="Measure ParakeetEncoder too.")] = False,
    threads: int = torch.get_num_threads(),
    output: Path = Path("outputs/long_audio.json"),
) -> None:
    """Measure the time and the peak memory of the encoder on long audio."""
    rows = []
    for case in track(CASES + PEER_CASES * peer, "Measuring", transient=True):
        with multiprocessing.get_context("spawn").Pool(1) as pool:  # the peak memory of a process never goes down
            rows.append(pool.apply(measure, (case, layers, threads)))
        print(json.dumps(asdict(rows[-1])), flush=True)
    columns = {
        "input": lambda row: row.input,
        "encoder": lambda row: row.encoder,
        "seconds": lambda row: f"{row.s:.1f}",
        "times real time": lambda row: f"{row.audio_s / row.s:.0f}",
        "peak memory (GB)": lambda row: f"{row.peak_gb:.2f}",
    }
    title = f"Long audio, {layers} layers, {threads} threads (memory of the whole process)"
    report(title, rows, columns, output, layers=layers)


if __name__ == "__main__":
    typer.run(main)
