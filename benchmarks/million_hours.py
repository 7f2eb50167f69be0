"""An estimate of what a million hours of audio take, from figures that were measured here.

    python -m benchmarks.corpus           # throughput, to outputs/corpus.json
    python -m benchmarks.million_hours    # storage and the plan's memory are measured; then it multiplies

Clips are 10 s long. Prices and the width of a machine are assumptions, which the options change.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow
import pyarrow.parquet
import typer
from rich.console import Console
from rich.table import Table

from modeling_audio_branch.corpus import FeatureFormat
from modeling_audio_branch.corpus.embedding import describe
from modeling_audio_branch.corpus.features import Embedded, write_shard
from modeling_audio_branch.corpus.plan import read_plan
from modeling_audio_branch.corpus.sources import source_of
from modeling_audio_branch.modeling_audio_branch import AudioBranchModel

CLIP_SECONDS, HOURS = 10.0, 1_000_000
CLIPS = HOURS * 3600 / CLIP_SECONDS
FORMS = [FeatureFormat("float16"), FeatureFormat("int8", 64), FeatureFormat("binary", 128)]
PLANNED = 2_000_000  # rows of which the plan's memory is measured
MEASURE_PLAN = """
import resource, sys, threading, time
from pathlib import Path
from modeling_audio_branch.corpus.embedding import CorpusFolder
from modeling_audio_branch.corpus.sources import sources_of

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

def watch():
    while True:
        seen.append(resident())
        time.sleep(0.005)

seen = [resident()]
threading.Thread(target=watch, daemon=True).start()
CorpusFolder(sys.argv[1]).grow_plan(sources_of([sys.argv[2]]), 4096)
print(max(seen) - seen[0])
"""


def table_of_paths(path: Path, count: int) -> None:
    """A manifest of so many clips of recordings of an hour."""
    numbers = np.arange(count)
    files = np.char.add("/corpus/2026/recordings/recording-", np.char.zfill((numbers // 360).astype(str), 7))
    starts = numbers % 360 * CLIP_SECONDS
    rows = {"path": np.char.add(files, ".flac"), "start": starts, "end": starts + CLIP_SECONDS}
    pyarrow.parquet.write_table(pyarrow.table(rows), path)


def plan_bytes_per_row(folder: Path, count: int = PLANNED) -> float:
    """Peak memory of making the plan of a manifest."""
    table_of_paths(folder / "manifest.parquet", count)
    command = [sys.executable, "-c", MEASURE_PLAN, str(folder / "job"), str(folder / "manifest.parquet")]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) / count


def stored_bytes_per_row(model: AudioBranchModel, form: FeatureFormat, folder: Path, count: int = 4096) -> float:
    """Of the Parquet files, with all other columns. The features are noise, which can't be compressed."""
    table_of_paths(folder / "rows.parquet", count)
    source = source_of(str(folder / "rows.parquet"))
    plan, about = read_plan(folder / "none").grown([source], count), describe(model, None, form)
    generator, shape = np.random.default_rng(0), about["shape"]
    as_integers = generator.integers(-128, 127, (count, *shape), dtype=np.int8)
    features = as_integers.view(np.uint8) if form.dtype == "binary" else as_integers
    if form.dtype == "float16":
        features = generator.standard_normal((count, *shape)).astype(np.float16)
    times = np.arange(2 * shape[0], dtype=np.float32).reshape(shape[0], 2)
    mask = np.ones(shape[0], bool)
    hashes = generator.bytes(32 * count).hex()
    rows = [
        Embedded(row, hashes[64 * row : 64 * row + 64], CLIP_SECONDS, features[row], times, mask)
        for row in range(count)
    ]
    write_shard(folder / "shard.parquet", plan, rows, [], about, folder)
    return (folder / "shard.parquet").stat().st_size / count


def main(
    measured: Annotated[Path, typer.Option(help="What benchmarks.corpus wrote.")] = Path("outputs/corpus.json"),
    checkpoint: Annotated[str, typer.Option(help="Folder or Hub repository.")] = "checkpoints/phrases",
    cores: Annotated[int, typer.Option(help="Cores of a machine.")] = 64,
    machines: Annotated[int, typer.Option(help="Machines.")] = 8,
    price: Annotated[float, typer.Option(help="Of a core for an hour, an assumption.")] = 0.04,
    megabytes: Annotated[float, typer.Option(help="Of an hour of audio, an assumption: FLAC at 16 kHz.")] = 60.0,
) -> None:
    """Prints the estimate."""
    results, model = json.loads(measured.read_text()), AudioBranchModel.from_pretrained(checkpoint)
    median = {name: float(np.median(times)) for name, times in results["times"].items()}
    processes = max(int(name.split()[1]) for name in median if name.endswith("processes"))
    embed = median[f"embed_corpus, {processes} processes"]
    per_core = results["seconds"] / embed / processes  # times real time
    decoding = results["seconds"] / median["only decoding"]  # one core
    core_hours = HOURS / per_core
    days = core_hours / (cores * machines) / 24
    rows = [
        ("one core embeds", f"{per_core:.0f} times real time"),
        ("one core decodes and resamples", f"{decoding:.0f} times real time"),
        ("core hours", f"{core_hours:,.0f}, of which decoding {HOURS / decoding:,.0f}"),
        (f"{machines} machines of {cores} cores", f"{days:.1f} days"),
        (f"price at {price} a core hour", f"{core_hours * price:,.0f}"),
        ("audio", f"{HOURS * megabytes / 1e6:.0f} TB, read at {HOURS * megabytes / days / 86400:.0f} MB/s"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        for form in FORMS:
            stored = stored_bytes_per_row(model, form, Path(folder))
            name = f"{form.dtype}, {form.dim or 'all'} components"
            rows.append((f"features, {name}", f"{CLIPS * stored / 1e12:.2f} TB ({stored:.0f} bytes a clip)"))
        planned = plan_bytes_per_row(Path(folder))
    rows.append(("memory of making the plan", f"{CLIPS * planned / 1e9:.0f} GB ({planned:.0f} bytes a clip)"))
    table = Table(title=f"{HOURS:,} hours, {CLIPS:,.0f} clips of {CLIP_SECONDS:.0f} s: an estimate", box=None)
    table.add_column("")
    table.add_column("")
    for row in rows:
        table.add_row(*row)
    Console(width=120).print(table)


if __name__ == "__main__":
    typer.run(main)
