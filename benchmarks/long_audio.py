"""Time and peak memory of the encoder on long audio, each in a process of its own.

python -m benchmarks.long_audio                 # ours, about five minutes on two cores
python -m benchmarks.long_audio --peer          # and ParakeetEncoder on 10 minutes: four minutes more, and 8 GB
"""

import functools
import json
import multiprocessing
import resource
from pathlib import Path

import torch
from rich.progress import track

from .common import features, parse_arguments, report, timed
from .peers import Parakeet, ours

CASES = [
    ("10 min, full attention", 600.0, None, False),
    ("10 min, window 128", 600.0, 128, False),
    ("1 hour, window 128", 3600.0, 128, False),
]
PEER = [("10 min, full attention", 600.0, None, True)]


def measure(case, layers, threads):
    name, seconds, window, is_peer = case
    torch.set_num_threads(threads)
    frames, mask = features([seconds])
    if is_peer:
        encoder = Parakeet(layers).eval()
    else:
        encoder = ours(layers, attention_window=window).encoder
    run = functools.partial(encoder, frames, mask)
    with torch.no_grad():
        taken = timed(run)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"input": name, "who": "Parakeet" if is_peer else "ours", "audio_s": seconds, "s": taken, "peak_gb": peak}


def main():
    arguments = parse_arguments(__doc__, layers=17, peer=False, output=Path("outputs/long_audio.json"))
    rows = []
    for case in track(CASES + PEER * arguments.peer, "Measuring", transient=True):
        with multiprocessing.get_context("spawn").Pool(1) as pool:  # the peak of a process never goes down
            rows.append(pool.apply(measure, (case, arguments.layers, arguments.threads)))
        print(json.dumps(rows[-1]), flush=True)
    columns = {
        "input": lambda row: row["input"],
        "who": lambda row: row["who"],
        "seconds": lambda row: f"{row['s']:.1f}",
        "times real time": lambda row: f"{row['audio_s'] / row['s']:.0f}",
        "peak memory (GB)": lambda row: f"{row['peak_gb']:.2f}",
    }
    title = f"Long audio, {arguments.layers} layers, {arguments.threads} threads (memory of the whole process)"
    report(title, rows, columns, arguments.output, layers=arguments.layers)


if __name__ == "__main__":
    main()
