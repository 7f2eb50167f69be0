"""`audio-branch embed`: turns a corpus into a table of features."""

import resource
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .common import MODEL_HELP, TRUST_HELP, exit_on_error, load_model


class Dtype(StrEnum):
    """Of stored features."""

    float32 = "float32"
    float16 = "float16"


class Engine(StrEnum):
    """What runs the shards."""

    local = "local"
    ray = "ray"


def embed(
    inputs: Annotated[
        list[str] | None, typer.Argument(help="Files, folders, globs, .csv, .parquet, datasets, URLs.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the output.")] = None,
    model: Annotated[str | None, typer.Option(help=MODEL_HELP)] = None,
    split: Annotated[str | None, typer.Option(help="Of a dataset that has several.")] = None,
    dtype: Annotated[Dtype, typer.Option(help="Of the features.")] = Dtype.float32,
    dim: Annotated[int | None, typer.Option(help="Only so many components, by the checkpoint's rotation.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Store unit vectors times 127.")] = False,
    binary: Annotated[bool, typer.Option("--binary", help="Store signs, eight to a byte.")] = False,
    sequence_embedding: Annotated[bool, typer.Option("--sequence-embedding", help="Also store this.")] = False,
    shard: Annotated[str, typer.Option(help="I/N: of all shards those that are I modulo N.")] = "0/1",
    workers: Annotated[int | None, typer.Option(min=0, help="Processes; one for each core if left out.")] = None,
    batch_seconds: Annotated[float | None, typer.Option(help="Audio of a forward pass.")] = None,
    rows_per_shard: Annotated[int, typer.Option(min=1, help="Rows of a file of the output.")] = 256,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Try files again that failed.")] = False,
    db: Annotated[Path | None, typer.Option(help="Also add the recordings to this index, for find.")] = None,
    engine: Annotated[Engine, typer.Option(help="What runs the shards.")] = Engine.local,
    ray_address: Annotated[str | None, typer.Option(help="Of a Ray cluster; else Ray is started here.")] = None,
    actors: Annotated[int, typer.Option(min=1, help="Ray processes that hold the model.")] = 2,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs of a Ray process.")] = 0.0,
    verify: Annotated[Path | None, typer.Option(help="Compute random rows of this output again.")] = None,
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code", help=TRUST_HELP)] = False,
) -> None:
    """Turn a corpus into a table of features. It can be stopped by anything; the same command then goes on."""
    from ..corpus import FeatureFormat, RaySettings, embed_corpus  # slow to import

    with exit_on_error():
        if verify is not None:
            return _verify(verify, model, split, trust_remote_code)
        if not inputs or out is None:
            raise ValueError("No input or no --out was given; give files or folders, and --out DIR.")
        if int8 and binary:
            raise ValueError("--int8 and --binary were both given; give one of them.")
        form = FeatureFormat("int8" if int8 else "binary" if binary else dtype.value, dim, sequence_embedding)
        ray = RaySettings(ray_address, actors, gpus) if engine is Engine.ray else None
        network = load_model(model, trust_remote_code).base_model
        options = {"workers": workers, "batch_seconds": batch_seconds, "rows_per_shard": rows_per_shard, "ray": ray}
        result = embed_corpus(
            inputs, out, network, form, split, _part(shard), retry_errors=retry_errors, show_progress=True, **options
        )
        _tell(result, out)
        if result.was_stopped:
            typer.echo(f"Stopped; to go on: {shlex.join(['audio-branch', *sys.argv[1:]])}", err=True)
            raise typer.Exit(130)
        if db is not None:
            _add_to_index(db, network, out)


def _part(shard):
    try:
        index, count = map(int, shard.split("/"))
    except ValueError as error:
        raise ValueError(f"--shard {shard} was given; give I/N, such as 0/4.") from error
    return index, count


def _tell(result, out):
    """What was done, in one line; and what can't be embedded."""
    memory, of_children = map(_peak_gigabytes, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    others = f" and at most {of_children:.2f} GB in each process that it started" if of_children else ""
    typer.echo(
        f"{result.rows - result.failures} rows of {result.seconds / 3600:.2f} hours embedded "
        f"({result.times_real_time:.0f} times real time), {result.failures} left out, "
        f"{result.shards_left} shards left; peak memory {memory:.2f} GB{others}."
    )
    if (out / "errors.parquet").exists():
        typer.echo(f"Files that can't be embedded: {out / 'errors.parquet'}.", err=True)


def _peak_gigabytes(who):
    return resource.getrusage(who).ru_maxrss / (2**20 if sys.platform == "linux" else 2**30)


def _verify(folder, model, split, trust_remote_code):
    from ..corpus import verify_features

    network = None if model is None else load_model(model, trust_remote_code).base_model
    result = verify_features(folder, network, split=split)
    typer.echo(f"{result.rows} rows computed again; the largest difference is {result.difference:.2g}.")
    for path in result.changed:
        typer.echo(f"{path} is not the audio that was embedded.", err=True)
    if not result.is_right:
        raise typer.Exit(1)


def _add_to_index(db, network, out):
    """The recordings that were embedded, as far as they are files here."""
    from ..corpus import AudioIndex, read_features

    files = sorted({path for path in read_features(out, ["path"])["path"].to_pylist() if Path(path).is_file()})
    done = AudioIndex(db, network).add(files, show_progress=True, on_error="skip")
    typer.echo(f"{len(done.added)} recordings added to the index {db}, {len(done.unchanged)} unchanged.")
