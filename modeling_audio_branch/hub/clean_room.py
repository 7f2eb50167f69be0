"""Loads a repository in a clean process, where Audio Branch is not importable, and compares its output."""

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import soundfile
import torch
from huggingface_hub import get_token

from ..disk import TEMPORARY_REMEDY, writing
from .errors import UploadError
from .snippet import usage_snippet
from .writing import temporary_folder

SCRIPT = Path(__file__).with_name("clean_room_script.py")
# The clean process inherits the environment without these: the package's path, the token, and every cache.
HIDDEN_VARIABLES = (
    *("PYTHONPATH", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_CACHE", "HF_MODULES_CACHE"),
    *("HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE", "HF_ASSETS_CACHE", "HF_XET_CACHE"),
)


@dataclass
class Expectation:
    """What a clean process must get from the repository."""

    golden: Path  # safetensors file of clips and their outputs
    tolerance: float  # the largest allowed difference, as a fraction of the golden output's largest number
    is_classifier: bool
    printed: list[str] | None = None  # what the card's snippet prints; None: anything


def verify_in_clean_process(
    repository: str, revision: str | None, expected: Expectation, private: bool = False
) -> list[str]:
    """Runs clean_room_script.py in a fresh process, in a folder of its own, with an empty cache.

    Args:
        repository: The repository's id on the Hub, or a folder if `revision` is None.
        revision: The commit to load.
        expected: What to compare with.
        private: Whether the repository is private. Only then does the process get the token.

    Returns:
        The lines that the card's snippet printed.

    Raises:
        UploadError: Loading fails, the output differs from the golden output, or the snippet prints something else.
    """
    request = {
        "repository": repository,
        "revision": revision,
        "golden": str(expected.golden),
        "is_classifier": expected.is_classifier,
        "snippet": usage_snippet(repository, revision),
    }
    with temporary_folder("clean_room") as temporary, writing(temporary, TEMPORARY_REMEDY):
        folder = str(temporary)
        for name, seconds in (("one.wav", 2.0), ("two.wav", 3.5)):  # the snippet's clips
            _write_wav(Path(folder) / name, seconds)
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT.read_text(encoding="utf-8")],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            cwd=folder,
            env=_clean_environment(folder, is_local=revision is None, private=private),
        )
    where = f"{repository} at {revision}" if revision else repository
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it was killed"])[-1]
        raise UploadError(f"{where} does not load in a fresh process: {last}")
    answer = json.loads(done.stdout.splitlines()[-1])
    if not answer["difference"] <= expected.tolerance:  # or NaN
        raise UploadError(
            f"{where} loads in a fresh process, but its output differs by {answer['difference']:.2g} (of its largest "
            f"number) from the golden one; at most {expected.tolerance:g} is allowed."
        )
    if expected.printed is not None and answer["printed"] != expected.printed:
        raise UploadError(f"{where} prints {answer['printed']} in place of {expected.printed}.")
    return answer["printed"]


def _clean_environment(folder: str, is_local: bool, private: bool) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name not in HIDDEN_VARIABLES}
    environment |= {"HF_HOME": f"{folder}/huggingface", "TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore"}
    if is_local:
        environment["HF_HUB_OFFLINE"] = "1"
    elif private:  # through the environment, because other users can list the arguments of a process
        environment["HF_TOKEN"] = get_token()
    return environment


def _write_wav(path: Path, seconds: float) -> None:
    samples = 0.1 * torch.randn(int(16000 * seconds), generator=torch.Generator().manual_seed(0))
    with io.BytesIO() as file:  # soundfile's own errors of the disk don't say what is wrong
        soundfile.write(file, samples.numpy(), 16000, format="WAV")
        path.write_bytes(file.getvalue())
