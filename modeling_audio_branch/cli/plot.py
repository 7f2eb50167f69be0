"""`audio-branch plot`: the picture of an audio file and its segments."""

from pathlib import Path
from typing import Annotated

import typer

from .common import MODEL_HELP, TRUST_HELP, exit_on_error, load_model


def plot(
    file: Annotated[Path, typer.Argument(help="Audio file: wav, flac, ogg or mp3.")],
    model: Annotated[str | None, typer.Option(help=MODEL_HELP)] = None,
    output: Annotated[
        Path | None, typer.Option(help="Picture to write; NAME.segments.png for NAME.wav if left out.")
    ] = None,
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code", help=TRUST_HELP)] = False,
) -> None:
    """Draw the waveform, the log-mel frames and the pooling weights of an audio file, cut into segments."""
    output = output or Path(f"{file.stem}.segments.png")
    with exit_on_error():
        from ..plots import plot_segments, save_figure  # matplotlib is an optional extra

        save_figure(plot_segments(load_model(model, trust_remote_code), file), output)
    typer.echo(f"Picture of {file.name}: {output}")
