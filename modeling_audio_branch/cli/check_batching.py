"""`audio-branch check-batching`: whether anybody's audio model gives a clip the same numbers alone and in a batch."""

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from transformers.utils import logging

from ..audio_input import load_audio
from ..hub.errors import first_line
from .common import TRUST_HELP, exit_on_error


class Tool(StrEnum):
    """What calls the model."""

    TRANSFORMERS = "transformers"
    SENTENCE_TRANSFORMERS = "sentence-transformers"


def check_batching(
    model: Annotated[str, typer.Argument(help="Folder or Hub repository of any audio model.")],
    audio: Annotated[
        list[Path] | None, typer.Option(help="Audio file; repeat it, with clips of different lengths. Default: noise.")
    ] = None,
    tool: Annotated[
        Tool | None,
        typer.Option(
            help="What calls the model; by default sentence-transformers if installed and it has modules.json."
        ),
    ] = None,
    tolerance: Annotated[float, typer.Option(help="Allowed difference, as a part of a clip's largest number.")] = 1e-3,
    as_json: Annotated[bool, typer.Option("--json", help="Print the clips' differences as JSON.")] = False,
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code", help=TRUST_HELP)] = False,
) -> None:
    """Encode clips alone and padded together with any audio model; exit with 1 if its numbers depend on the batch."""
    with exit_on_error():
        tool, gaps = measure(model, audio or [], tool, tolerance, trust_remote_code)
    worst = max(gaps, key=lambda gap: gap.difference)
    if as_json:
        typer.echo(json.dumps([asdict(gap) for gap in gaps], indent=1))
    else:
        Console(markup=False, emoji=False, highlight=False).print(table_of(gaps))
        verdict = "depends" if worst.difference > tolerance else "does not depend"
        typer.echo(
            f"Called by {tool}, a clip's embedding {verdict} on its batch: alone and padded together, it differs by up "
            f"to {worst.difference:.1g} of its largest number (allowed: {tolerance:g})."
        )
    if worst.difference > tolerance:
        raise typer.Exit(1)


def measure(
    model: str, audio: list[Path], tool: Tool | None, tolerance: float, trust_remote_code: bool
) -> tuple[Tool, list]:
    """What called the model, and the gap of each clip.

    Raises:
        ValueError: One sentence if the model can't be loaded or called, or an option is impossible.
        ImportError: sentence-transformers is not installed.
    """
    from ..check import batching  # slow to import

    if not 0 <= tolerance < float("inf"):
        raise ValueError(f"--tolerance {tolerance} was given; give a finite number of at least 0.")
    if len(audio) == 1:
        raise ValueError(
            "One audio file makes no batch; give several of different lengths, or none for clips of noise."
        )
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        if tool is None:
            has_modules = batching.is_for_sentence_transformers(model)
            tool = Tool.SENTENCE_TRANSFORMERS if has_modules else Tool.TRANSFORMERS
        by = {
            Tool.TRANSFORMERS: batching.by_transformers,
            Tool.SENTENCE_TRANSFORMERS: batching.by_sentence_transformers,
        }
        embed, rate = by[tool](model, trust_remote_code)
    except ImportError:
        raise
    except Exception as error:  # a model of anybody may fail in any way
        raise ValueError(f"The model {model!r} cannot be loaded: {first_line(error)}") from error
    clips = [load_audio(path, rate).numpy() for path in audio] or batching.noise_clips(rate)
    try:
        return tool, batching.batching_gaps(embed, clips, rate)
    except Exception as error:
        raise ValueError(f"The model {model!r} can't embed the clips: {first_line(error)}") from error


def table_of(gaps) -> Table:
    """One row for each clip."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("seconds", "difference", "cosine"):
        table.add_column(column, justify="right")
    for gap in gaps:
        table.add_row(f"{gap.seconds:.2f}", f"{gap.difference:.1e}", f"{gap.cosine:.7f}")
    return table
