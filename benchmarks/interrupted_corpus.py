"""Kills a job again and again while it embeds thousands of recordings, and checks that nothing is lost or doubled.

    python -m benchmarks.interrupted_corpus               # 5,200 recordings, 50 broken files, 50 kills; 10 minutes

Each call of `audio-branch embed` is killed with SIGKILL (its processes that decode, too) at a random moment; then one
call runs to its end. Every good file must be there once, every broken one once in errors.parquet, and random rows must
be what `encode` says of the file alone.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow.parquet
import typer
from rich.progress import track

from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.corpus import as_array, read_features
from modeling_audio_branch.corpus.features import shard_paths

from .corpus import recordings

BROKEN = b"", b"this is no audio", b"RIFF\x24\x00\x00\x00WAVEfmt ", b"OggS" + bytes(40)
LONGEST = 9.5  # seconds until a kill, of which about 6 are needed to begin; the job must not end before the last one


def kill_and_go_on(command: list[str], kills: int, generator: random.Random, out: Path) -> None:
    """Kills so many calls, and lets the last one end."""
    for _ in track(range(kills), "Killing"):
        process = subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(generator.uniform(0.5, LONGEST))
        if process.poll() is not None:
            raise RuntimeError(f"The job ended by itself after {len(shard_paths(out))} shards; take more recordings.")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True)


def main(
    checkpoint: Annotated[str, typer.Option(help="Folder or Hub repository.")] = "checkpoints/phrases",
    count: Annotated[int, typer.Option(help="Recordings.")] = 5200,
    broken: Annotated[int, typer.Option(help="Files that are no audio.")] = 50,
    kills: Annotated[int, typer.Option(help="How often the job is killed.")] = 50,
    compared: Annotated[int, typer.Option(help="Rows that are compared with `encode`.")] = 500,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
) -> None:
    """Kills a job again and again, and checks its output."""
    generator, files = random.Random(seed), recordings(count)
    with tempfile.TemporaryDirectory() as folder:
        inputs, out = Path(folder, "corpus"), Path(folder, "out")
        inputs.mkdir()
        for number, path in enumerate(files):
            shutil.copy(path, inputs / f"{number:05d}{path.suffix}")
        for number in range(broken):
            (inputs / f"{generator.randrange(len(files)):05d}_broken_{number}.wav").write_bytes(
                BROKEN[number % len(BROKEN)]
            )
        command = [sys.executable, "-m", "modeling_audio_branch", "embed", str(inputs), "--out", str(out)]
        command += ["--model", checkpoint, "--rows-per-shard", "32"]
        kill_and_go_on(command, kills, generator, out)
        check(inputs, out, AudioBranchModel.from_pretrained(checkpoint).eval(), len(files), broken, compared, generator)


def check(inputs: Path, out: Path, model, good: int, broken: int, compared: int, generator: random.Random) -> None:
    """Raises an AssertionError unless the output is complete and right."""
    table = read_features(out, ["path", "segment_features"])
    paths, features = table["path"].to_pylist(), as_array(table["segment_features"])
    expected = {str(path) for path in inputs.iterdir() if "broken" not in path.name}
    assert len(paths) == good == len(expected) and set(paths) == expected, "a good file is missing or there twice"
    errors = pyarrow.parquet.read_table(out / "errors.parquet")["path"].to_pylist()
    wrong = {str(path) for path in inputs.iterdir() if "broken" in path.name}
    assert len(errors) == broken == len(wrong) and set(errors) == wrong, "a broken file is missing or there twice"
    chosen = generator.sample(range(good), min(compared, good))
    differences = [
        np.abs(features[row] - model.encode(paths[row]).segment_features.numpy()).max()
        for row in track(chosen, "Comparing")
    ]
    assert max(differences) <= 1e-5, max(differences)
    print(
        f"{good} recordings once each, {broken} errors once each; {len(chosen)} rows equal `encode` to "
        f"{max(differences):.1e}."
    )


if __name__ == "__main__":
    typer.run(main)
