"""`audio-branch serve`: a model behind HTTP."""

import os
from pathlib import Path
from typing import Annotated

import torch
import typer

from .common import MODEL_HELP, TRUST_HELP, default_checkpoint, exit_on_error, load_model


def serve(
    model: Annotated[str | None, typer.Option(help=MODEL_HELP)] = None,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 is all of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 8000,
    name: Annotated[str | None, typer.Option(help="Of the model in requests; the folder's if left out.")] = None,
    max_megabytes: Annotated[int, typer.Option(min=1, help="Size of a request.")] = 32,
    max_seconds: Annotated[float, typer.Option(min=0.1, max=120, help="Duration of a clip.")] = 120.0,
    max_clips: Annotated[int, typer.Option(min=1, help="Clips of a request.")] = 64,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads that run the model; by default one for each core of a CPU.")
    ] = None,
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code", help=TRUST_HELP)] = False,
) -> None:
    """Answer HTTP requests for embeddings (/v1/embeddings), clips of all requests batched together."""
    with exit_on_error():
        import uvicorn

        from ..serve import Limits, create_service  # an optional extra

        source = model or default_checkpoint()
        network = load_model(source, trust_remote_code)
        if not network.config.encoder_config:
            network.prepare_for_inference()
        network.encode(torch.zeros(network.config.sample_rate), network.config.sample_rate)  # the first pass is slow
        workers = workers or (len(os.sched_getaffinity(0)) if network.device.type == "cpu" else 1)
        torch.set_num_threads(max(1, torch.get_num_threads() // workers))
        megabytes = max_megabytes * 2**20
        limits = Limits(body_bytes=megabytes, held_bytes=4 * megabytes, clips=max_clips, clip_seconds=max_seconds)
        name = name or Path(source).resolve().name
        service = create_service(network, name, limits, workers)
    typer.echo(f"Serving {name} at http://{host}:{port}/v1/embeddings; end it with Ctrl-C.")
    uvicorn.run(
        service,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
    )
