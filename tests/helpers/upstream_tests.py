"""Fetches the tests of the installed Transformers, and prints the folder to put on PYTHONPATH.

python tests/helpers/upstream_tests.py

They are not in Transformers' wheel: they come from the source distribution of the same version, fetched from PyPI once.
"""

import importlib.metadata
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".pytest_cache"


def fetch_tests() -> Path:
    """The folder that holds the package `tests` of the installed Transformers."""
    version = importlib.metadata.version("transformers")
    folder = CACHE / f"transformers-{version}"
    if not folder.exists():
        CACHE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "transformers"]
            subprocess.run([*pip, "--dest", temporary, f"transformers=={version}"], check=True, stdout=sys.stderr)
            with tarfile.open(next(Path(temporary).glob("*.tar.gz"))) as archive:
                members = [member for member in archive if "/tests/" in member.name]
                archive.extractall(temporary, members, filter="data")
            extracted = Path(temporary, folder.name)
            # A package with an __init__.py is found before our folder `tests`, which has none.
            (extracted / "tests" / "__init__.py").touch()
            extracted.rename(folder)
    return folder


if __name__ == "__main__":
    print(fetch_tests())
