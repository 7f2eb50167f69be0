"""`audio-branch app` before the page is there; tests/ui has the page."""

import importlib.util

import pytest
from typer.testing import CliRunner

from modeling_audio_branch.cli import app


@pytest.mark.skipif(importlib.util.find_spec("gradio") is not None, reason="Gradio is installed")
def test_without_gradio_one_sentence_says_what_to_install():
    done = CliRunner().invoke(app, ["app"])
    assert done.exit_code == 1 and done.stdout == ""
    assert done.stderr == "The page needs Gradio; install it with: pip install 'audio-branch[app]'\n"
