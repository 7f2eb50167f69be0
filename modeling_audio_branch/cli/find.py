"""`audio-branch find`: where a phrase is said in the recordings of an index."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from .common import MODEL_HELP, TRUST_HELP, exit_on_error, load_model
from .index import DB_HELP


def find(
    query: Annotated[Path, typer.Argument(help="Audio file of the phrase alone, by anybody, 0.2 to 20 s.")],
    db: Annotated[Path, typer.Option(help=DB_HELP)],
    top: Annotated[int, typer.Option(help="At most so many hits.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of hits as JSON.")] = False,
    model: Annotated[str | None, typer.Option(help=MODEL_HELP)] = None,
    within: Annotated[
        list[Path] | None, typer.Option("--in", help="Seek in this recording only; may be repeated.")
    ] = None,
    cut: Annotated[Path | None, typer.Option(help="Folder to write each hit to, as a wav file.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Picture of the best hit and the phrase to write.")] = None,
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code", help=TRUST_HELP)] = False,
) -> None:
    """Find where a phrase is said, by anybody, in the recordings of an index."""
    from ..corpus import AudioIndex, write_cutouts  # slow to import

    with exit_on_error():
        audio_index = AudioIndex(db, load_model(model, trust_remote_code))
        hits = audio_index.find(query, top, recordings=within)
        outdated = set(audio_index.outdated())
        if cut is not None:
            write_cutouts(hits, cut)
        if picture is not None and hits:
            from ..plots import plot_hit, save_figure  # matplotlib is an optional extra

            save_figure(plot_hit(audio_index, query, hits[0]), picture)
    if as_json:
        typer.echo(json.dumps([hit.to_dict() for hit in hits], indent=1))
    else:
        Console(markup=False, emoji=False, highlight=False).print(table_of(hits))
    if changed := sorted({hit.file for hit in hits} & outdated):
        typer.echo(f"{changed[0]} has changed or is gone since it was indexed; run audio-branch index again.", err=True)


def table_of(hits) -> Table:
    """One row for each hit, the best first."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("File", overflow="fold")
    for column in ("start", "end", "score", "probability"):
        table.add_column(column, justify="right", no_wrap=True)
    for hit in hits:
        probability = "" if hit.probability is None else f"{hit.probability:.0%}"
        table.add_row(
            min(hit.file, os.path.relpath(hit.file), key=len),
            clock(hit.start),
            clock(hit.end),
            f"{hit.score:.2f}",
            probability,
        )
    return table


def clock(seconds: float) -> str:
    """Seconds as 1:02:03.45."""
    hundredths = round(seconds * 100)
    minutes, rest = divmod(hundredths, 6000)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest // 100:02d}.{rest % 100:02d}"
