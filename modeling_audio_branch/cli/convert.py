"""`audio-branch convert`: a NeMo or Parakeet checkpoint to a folder that Transformers loads."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from huggingface_hub.errors import StrictDataclassError
from rich.console import Console
from rich.table import Table

from ..convert.nemo import load_nemo
from ..convert.parakeet import load_parakeet
from ..disk import DiskError, writing
from ..feature_extraction import AudioBranchFeatureExtractor
from ..modeling_audio_branch import AudioBranchModel
from .common import exit_on_error

SUMMARY = (
    "num_layers d_model num_heads subsampling subsampling_factor causal_subsampling attention_window attention_chunked "
    "global_attention conv_kernel_size conv_context conv_norm use_bias scale_input n_mels normalize"
).split()


def convert(
    archive: Annotated[str, typer.Argument(help="The .nemo file; with --parakeet, a folder or a Hub repository.")],
    folder: Annotated[Path, typer.Argument(help="The checkpoint to write: a new or empty folder.")],
    parakeet: Annotated[bool, typer.Option("--parakeet", help="Convert a Parakeet in Transformers' format.")] = False,
) -> None:
    """Convert a NeMo archive (.nemo) or a Parakeet checkpoint to an Audio Branch checkpoint."""
    console = Console()
    with exit_on_error():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise FileExistsError(f"{folder} exists and is not an empty folder; give another.")
        model = _load_parakeet(archive) if parakeet else load_nemo(archive, AudioBranchModel, show_progress=True)
        with console.status(f"Writing {folder}"):
            _save(model, folder)
    console.print(_summary(model, f"{Path(archive).name} in {folder}"))


def _load_parakeet(repository: str) -> AudioBranchModel:
    try:
        return load_parakeet(repository, AudioBranchModel, hub_kwargs={})
    except StrictDataclassError as error:  # a setting that AudioBranchConfig refuses
        raise ValueError(str(error.__cause__ or error)) from error


def _save(model: AudioBranchModel, folder: Path) -> None:
    """Writes the checkpoint into a temporary folder and moves it, so that no half-written folder is ever left."""
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            written = Path(temporary, "checkpoint")
            try:
                model.save_pretrained(written)
                AudioBranchFeatureExtractor.from_model(model).save_pretrained(written)
            except DiskError as error:  # it names the temporary folder
                raise error.__cause__ from None
            if folder.exists():
                folder.rmdir()
            written.replace(folder)


def _summary(model: AudioBranchModel, title: str) -> Table:
    table = Table(title=title, show_header=False)
    for name in SUMMARY:
        table.add_row(name, str(getattr(model.config, name)))
    for part, count in model.num_parameters_by_part().items():
        is_new = part not in ("encoder", "total")
        table.add_row(f"parameters: {part}", f"{count:,}" + (" (new, random)" if is_new else ""))
    return table
