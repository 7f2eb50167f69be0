"""`audio-branch push`: publishes a checkpoint on the Hugging Face Hub."""

from pathlib import Path
from typing import Annotated

import transformers
import typer

from modeling_audio_branch.hub.errors import CardError, UploadError
from modeling_audio_branch.hub.push import push_checkpoint


def push(
    checkpoint: Annotated[Path, typer.Argument(help="Folder that save_pretrained, Trainer or a conversion wrote.")],
    repo_id: Annotated[str, typer.Option(help="USER/NAME on the Hub.")],
    private: Annotated[bool | None, typer.Option("--private/--public", help="Of a new repository.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch to send to; it is created if it is missing.")] = None,
    tag: Annotated[str | None, typer.Option(help="Tag for the commit, such as v1.0.0.")] = None,
    pr: Annotated[bool, typer.Option("--pr", help="Open a pull request.")] = False,
    dry_run: Annotated[Path | None, typer.Option(help="Write the repository here, and send nothing.")] = None,
    metrics: Annotated[
        Path | None, typer.Option(help="results.json of an evaluation, for the card; by default the folder's.")
    ] = None,
    license: Annotated[
        str | None,
        typer.Option(help="Licence of the weights, as the Hub names it; by default the folder's, else apache-2.0."),
    ] = None,
    language: Annotated[
        list[str] | None,
        typer.Option(help="Language code, such as en; may be repeated; by default those of the folder's README.md."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    multi_vector: Annotated[
        bool, typer.Option("--multi-vector", help="For MultiVectorEncoder: a clip's segments are its vectors.")
    ] = False,
    onnx: Annotated[bool, typer.Option("--onnx", help="Also onnx/model.onnx, and model_int8.onnx.")] = False,
    endpoint: Annotated[bool, typer.Option("--endpoint", help="Also handler.py, for Inference Endpoints.")] = False,
    space: Annotated[Path | None, typer.Option(help="Also write the folder of a Space with the model's page.")] = None,
) -> None:
    """Publish a checkpoint on the Hugging Face Hub, and load it back in a clean process."""
    transformers.utils.logging.set_verbosity_error()
    try:
        push_checkpoint(
            checkpoint,
            repo_id,
            private,
            revision,
            tag,
            pr,
            dry_run,
            metrics,
            license,
            language,
            yes,
            multi_vector,
            onnx,
            endpoint,
            space,
        )
    except (UploadError, CardError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from None
