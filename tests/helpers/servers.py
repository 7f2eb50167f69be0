"""Processes that serve HTTP on this machine: the service, the page, and a Space."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
APP_PYTHON = ROOT / ".venv-app/bin/python"  # it has what a Space's requirements.txt lists, and nothing else
START_SECONDS = 300  # a loaded machine imports torch slowly


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def serving(command: list, port: int, cwd: Path = ROOT, path: str = "/", **environment: str) -> Iterator:
    """A process and the address at which it answers; it is ended, and its output is printed if it dies."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "GRADIO_ANALYTICS_ENABLED": "False"} | environment
    process = subprocess.Popen([*map(str, command)], cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    address, end = f"http://127.0.0.1:{port}", time.monotonic() + START_SECONDS
    try:
        while True:
            assert process.poll() is None and time.monotonic() < end, process.stdout.read().decode()
            try:
                with urllib.request.urlopen(address + path, timeout=5):
                    break
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        yield process, address
    finally:
        process.terminate()
        process.communicate(timeout=60)


@contextmanager
def service(*options, **environment) -> Iterator:
    """`audio-branch serve`: the process and its address."""
    port = free_port()
    command = [sys.executable, "-m", "modeling_audio_branch", "serve", "--port", port, *options]
    with serving(command, port, path="/health", **environment) as started:
        yield started


@contextmanager
def web_app(*options, **environment) -> Iterator:
    """`audio-branch app` in the environment of a Space: the process and its address."""
    assert APP_PYTHON.exists(), "There is no .venv-app; run make test-ui."
    port = free_port()
    command = [APP_PYTHON, "-m", "modeling_audio_branch", "app", "--port", port, *options]
    with serving(command, port, **environment) as started:
        yield started


def peak_bytes(process: subprocess.Popen) -> int:
    """The most memory that the process has had so far."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
