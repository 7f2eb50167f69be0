"""Runs Python in a fresh process and an empty folder, as on a machine where Audio Branch is not installed."""

import os
import subprocess
import sys
import textwrap

HIDE_THE_PACKAGE = """
import sys
for name in ("modeling_audio_branch", "configuration_audio_branch", "feature_extraction", "hub_upload"):
    sys.modules[name] = None  # importing it raises ImportError, even where it is installed
"""


def run_fresh(code: str, tmp_path, **environment) -> str:
    """Returns the standard output of `code`, and fails with its standard error where `code` fails.

    Args:
        code: Python source; its common indentation is removed.
        tmp_path: The process runs in an empty folder below it, and caches below it what it loads.
        **environment: Environment variables that the process gets in addition.
    """
    folder = tmp_path / "empty"
    folder.mkdir(exist_ok=True)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {"HF_HOME": str(tmp_path / "hf_home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"} | environment
    program = HIDE_THE_PACKAGE + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
