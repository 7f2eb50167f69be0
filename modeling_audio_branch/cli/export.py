"""`audio-branch export`: a checkpoint in a format that runs without our code."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .common import TRUST_HELP, exit_on_error, load_model


def export(
    checkpoint: Annotated[str, typer.Argument(help="Folder or Hub repository of a checkpoint.")],
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="New folder to write.")],
    format: Annotated[
        Literal["onnx", "torch", "aoti", "torchscript", "openvino"],
        typer.Option(
            help="torch: torch.export. aoti: compiled for CPUs like this one. torchscript: deprecated by torch."
        ),
    ] = "onnx",
    source: Annotated[
        Literal["raw", "features"], typer.Option("--from", help="What goes in: raw audio, or the extractor's features.")
    ] = "raw",
    spans: Annotated[
        bool, typer.Option("--spans", help="Spans of clips, start and end in seconds, are an input, too.")
    ] = False,
    int8: Annotated[bool, typer.Option("--int8", help="With onnx or openvino: also model_int8.")] = False,
    audio: Annotated[
        list[Path] | None,
        typer.Option(help="Recording on which int8 is measured; may be repeated. In a checkout, the examples."),
    ] = None,
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code", help=TRUST_HELP)] = False,
) -> None:
    """Export a checkpoint to ONNX, OpenVINO, torch.export, AOTInductor or TorchScript, and check its numbers."""
    with exit_on_error():
        from ..export import export_model  # slow to import, and an optional extra

        model = load_model(checkpoint, trust_remote_code)
        report = export_model(model, folder, format, source, int8, audio, spans=spans)
    size = sum(path.stat().st_size for path in folder.glob(f"{report.path.stem}.*")) / 2**20
    typer.echo(
        f"{report.path}: {size:.1f} MB in {report.seconds:.0f} s; it differs from the model by at most "
        f"{report.difference:.1e} of the largest number."
    )
    if report.int8_path is not None:
        mean, least = report.int8_cosine
        size = sum(path.stat().st_size for path in folder.glob(f"{report.int8_path.stem}.*")) / 2**20
        typer.echo(
            f"{report.int8_path}: {size:.1f} MB; cosine similarity of segments with float32 {mean:.4f} in the mean, "
            f"{least:.4f} at least."
        )
