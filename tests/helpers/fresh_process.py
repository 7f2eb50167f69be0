"""Runs Python in a fresh process, in an empty folder, where Audio Branch is not importable: a stranger's machine."""

import os
import subprocess
import sys
import textwrap

BLOCK = """
import sys
for name in ("modeling_audio_branch", "configuration_audio_branch", "feature_extraction", "hub_upload"):
    sys.modules[name] = None  # importing it raises, even from an editable install
"""


def run_fresh(code: str, tmp_path, **environment) -> str:
    """Standard output of `code`; fails with its standard error if it does."""
    folder = tmp_path / "empty"
    folder.mkdir(exist_ok=True)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {"HF_HOME": str(tmp_path / "hf_home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"} | environment
    program = BLOCK + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
