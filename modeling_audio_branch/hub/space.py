"""The folder of a Space: app.py, requirements.txt, README.md, the package, and a repository that is assembled."""

import shutil
from pathlib import Path

import yaml

from .errors import UploadError
from .writing import new_folder

HERE, PACKAGE = Path(__file__).parent, Path(__file__).parents[1]
NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.pyc")
SHORT = 60  # letters of a description that the Hub takes


def check_space(folder: Path, others: list[Path]) -> None:
    """Raises an UploadError unless the folder is new or empty, and neither inside nor around one of the others."""
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise UploadError(f"--space {folder} exists already; give a new folder.")
    for other in others:
        inside, outside = folder.resolve(), other.resolve()
        if inside == outside or outside in inside.parents or inside in outside.parents:
            raise UploadError(f"--space {folder} and {other} are in one another; give a folder elsewhere.")


def write_space(repository: Path, folder: Path, repo_id: str, license: str) -> None:
    """Writes a Space that runs the page of a model.

    Args:
        repository: The assembled repository of the model.
        folder: New folder to write.
        repo_id: USER/NAME of the model on the Hub, which the page shows.
        license: Of the weights.

    Raises:
        DiskError: The folder can't be written.
    """
    with new_folder(folder):
        shutil.copytree(PACKAGE, folder / "modeling_audio_branch", ignore=NOT_COPIED)
        shutil.copytree(repository, folder / "checkpoint", ignore=shutil.ignore_patterns("onnx", ".eval_results"))
        app = (HERE / "space_app.py").read_text(encoding="utf-8").replace("{repo_id}", repo_id)
        (folder / "app.py").write_text(app, encoding="utf-8")
        shutil.copyfile(HERE / "space_requirements.txt", folder / "requirements.txt")
        text = (HERE / "space_readme.md").read_text(encoding="utf-8")
        (folder / "README.md").write_text(f"---\n{_front_matter(repo_id, license)}---\n\n{text}", encoding="utf-8")


def gradio_version() -> str:
    """The version of Gradio that requirements.txt begins at, which the Hub is to install."""
    lines = (HERE / "space_requirements.txt").read_text(encoding="utf-8").split()
    (line,) = (line for line in lines if line.startswith("gradio"))
    return f"{line.removeprefix('gradio>=').split(',')[0]}.0"


def _front_matter(repo_id, license):
    settings = {
        "title": f"{repo_id.split('/')[-1]}: segments of audio"[:SHORT],
        "emoji": "🎧",
        "colorFrom": "blue",
        "colorTo": "indigo",
        "sdk": "gradio",
        "sdk_version": gradio_version(),
        "python_version": "3.11",
        "app_file": "app.py",
        "license": license,
        "models": [repo_id],
        "short_description": "Hear, compare and find segments of audio",
    }
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
