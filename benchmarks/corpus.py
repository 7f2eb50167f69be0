"""How fast a corpus of files becomes a table of features, compared with what bounds it and with a plain loop.

    python -m recipes.phrases.prepare     # the recordings come from Debian packages
    python -m benchmarks.corpus           # 2,000 recordings, 3 rounds; about 10 minutes
    python -m benchmarks.corpus --ray     # also Ray with two actors

In each round all ways embed the same recordings, one after the other: `model.encode` of clips that are decoded already
(what the encoder alone would need), only decoding, `embed_corpus` in this process and in one for each core, a loop that
calls `model.encode` for each file, and sentence-transformers' `encode` of the files with the same weights. Ratios are
of the medians of the rounds. Then the command `audio-branch embed` tells its peak memory for a quarter of the
recordings and for all.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import soundfile
import torch
import typer
from rich.console import Console
from rich.table import Table
from sentence_transformers import SentenceTransformer

from modeling_audio_branch import AudioBranchFeatureExtractor, AudioBranchModel
from modeling_audio_branch.audio_input import load_audio
from modeling_audio_branch.corpus import RaySettings, embed_corpus
from modeling_audio_branch.hub.writing import replaced_file
from recipes.debian_audio import PACKAGES, install

SPEECH = "fillets-ng-data-cs", "fillets-ng-data-nl", "asterisk-prompt-it-menardi-wav", "tuxpaint-stamps-default"
DECODED = "encode, decoded clips"


def recordings(count: int) -> list[Path]:
    """So many readable recordings of speech, from all packages in proportion, in the order of their names."""
    install(list(SPEECH), PACKAGES)
    found = sorted(
        path for name in SPEECH for path in (PACKAGES / name).rglob("*.*") if path.suffix in (".ogg", ".wav")
    )
    step = max(1.0, len(found) / count)
    chosen = [found[int(index * step)] for index in range(min(count, len(found)))]
    return [path for path in chosen if soundfile.info(path).frames]


def ways(model: AudioBranchModel, files: list[Path], with_ray: bool) -> dict:
    """Name: a function that embeds all files."""
    rate = model.config.sample_rate
    clips = [load_audio(path, rate) for path in files]

    def embed(**options):
        with tempfile.TemporaryDirectory() as folder:
            result = embed_corpus(files, Path(folder, "out"), model, **options)
            assert result.rows == len(files) and not result.failures

    def loop():
        for path in files:
            model.encode(path)

    found = {
        DECODED: lambda: model.encode(clips, rate, show_progress=False),
        "only decoding": lambda: [load_audio(path, rate) for path in files],
        "loop over files": loop,
        "sentence-transformers": sentence_transformers_way(model, files),
    }
    for workers in (0, 2):
        found[f"embed_corpus, {workers} processes"] = lambda workers=workers: embed(workers=workers)
    if with_ray:
        found["embed_corpus, Ray, 2 actors"] = lambda: embed(ray=RaySettings(actors=2))
    return found


def sentence_transformers_way(model: AudioBranchModel, files: list[Path]):
    """A function that embeds all files by sentence-transformers, in batches as `model.encode` makes them."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        AudioBranchFeatureExtractor.from_model(model).save_pretrained(folder)
        embedder = SentenceTransformer(folder, trust_remote_code=True, device="cpu")
    names = [str(path) for path in files]
    return lambda: embedder.encode(names, batch_size=8, show_progress_bar=False)


def peak_memory(checkpoint: str, files: list[Path]) -> str:
    """What the command says of its memory."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder, "files.csv")
        manifest.write_text("path\n" + "".join(f"{path}\n" for path in files), encoding="utf-8")
        command = [sys.executable, "-m", "modeling_audio_branch", "embed", str(manifest), "--model", checkpoint]
        done = subprocess.run([*command, "--out", f"{folder}/out"], capture_output=True, text=True, check=True)
    return "peak memory " + done.stdout.split("peak memory")[1].strip()


def main(
    checkpoint: Annotated[str, typer.Option(help="Folder or Hub repository.")] = "checkpoints/phrases",
    count: Annotated[int, typer.Option(help="Recordings.")] = 2000,
    rounds: Annotated[int, typer.Option(help="Of each way.")] = 3,
    ray: Annotated[bool, typer.Option(help="Also Ray with two actors.")] = False,
    output: Annotated[Path, typer.Option(help="File of the results.")] = Path("outputs/corpus.json"),
) -> None:
    """Measures how fast a corpus is embedded."""
    files = recordings(count)
    seconds = sum(soundfile.info(path).duration for path in files)
    model = AudioBranchModel.from_pretrained(checkpoint).eval()
    times, found = defaultdict(list), ways(model, files, ray)
    for _ in range(rounds):
        for name, run in found.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in times.items()}
    table = Table(
        title=f"{len(files)} recordings of {seconds / 3600:.2f} hours, {torch.get_num_threads()} threads", box=None
    )
    for column in ("way", "s", "from", "to", "files/s", "x real time", "of encode"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for name, value in median.items():
        row = (value, min(times[name]), max(times[name]), len(files) / value, seconds / value)
        table.add_row(name, *(f"{each:.1f}" for each in row), f"{median[DECODED] / value:.2f}")
    console = Console(width=120)
    console.print(table)
    memory = {len(part): peak_memory(checkpoint, part) for part in (files[::4], files)}
    for number, sentence in memory.items():
        console.print(f"{number} recordings: {sentence}")
    with replaced_file(output) as path:
        results = {"files": len(files), "seconds": seconds, "times": times, "memory": memory}
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
