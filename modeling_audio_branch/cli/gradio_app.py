"""`audio-branch app`: the web page."""

from typing import Annotated

import typer

from .common import MODEL_HELP, TRUST_HELP, default_checkpoint, exit_on_error, load_model


def gradio_app(
    model: Annotated[str | None, typer.Option(help=MODEL_HELP)] = None,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 is all of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 7860,
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code", help=TRUST_HELP)] = False,
) -> None:
    """Open a web page on this machine: look at clips, compare them, find phrases."""
    with exit_on_error():
        from ..app.page import build_page, launch  # an optional extra

        source = model or default_checkpoint()
        page = build_page(load_model(source, trust_remote_code), source)
        typer.echo(f"Open http://{host}:{port} in a browser; end it with Ctrl-C.")
        launch(page, host, port)
