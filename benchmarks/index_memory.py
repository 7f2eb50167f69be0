"""The time and the peak memory of indexing one long recording.

    python -m benchmarks.haystacks        # the speech comes from its tapes
    python -m benchmarks.index_memory     # 3 hours at 44.1 kHz; 3 minutes, and 1 GB of disk for a while

The recording is the tapes one behind the other, resampled, as a 16-bit wav file. Another process, which does nothing
else, adds it to an index. Its peak memory is the largest resident set that the system counts.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import soundfile
import typer
from rich.progress import track

from modeling_audio_branch.audio_input import load_audio

from .haystacks import load_tapes

INDEXED = """
import resource, sys, time
from modeling_audio_branch.corpus import AudioIndex
index = AudioIndex(sys.argv[1], sys.argv[2])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
before, start = peak(), time.perf_counter()
index.add(sys.argv[3])
print(f"{time.perf_counter() - start:.0f} s, peak memory {peak():.2f} GB, before the recording {before:.2f} GB")
"""


def write_recording(path: Path, hours: float, rate: int) -> None:
    """Writes the tapes one behind the other until the recording is long enough."""
    tapes, done = load_tapes(), 0.0
    with soundfile.SoundFile(path, "w", rate, 1, "PCM_16") as file:
        for number in track(range(10**6), "Writing", total=int(hours * 3600 / soundfile.info(tapes[0].path).duration)):
            samples = load_audio(tapes[number % len(tapes)].path, rate).numpy()
            file.write(samples[: round((3600 * hours - done) * rate)])
            done += len(samples) / rate
            if done >= 3600 * hours:
                return


def main(
    checkpoint: Annotated[str, typer.Option(help="Folder or Hub repository.")] = "checkpoints/phrases",
    hours: Annotated[float, typer.Option(help="Duration of the recording.")] = 3.0,
    rate: Annotated[int, typer.Option(help="Its sampling rate in Hz.")] = 44100,
) -> None:
    """Measures the time and the peak memory of indexing one long recording."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recording.wav")
        write_recording(path, hours, rate)
        command = [sys.executable, "-c", INDEXED, str(Path(folder, "index")), checkpoint, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    print(f"{hours:g} h at {rate} Hz: {done.stdout.strip()}")


if __name__ == "__main__":
    typer.run(main)
