"""`audio-branch push` and hub_upload.py: the same options, and errors of one line."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import hub_upload
from modeling_audio_branch.cli import app, push
from modeling_audio_branch.hub.errors import CardError, UploadError

ARGUMENTS = (
    "folder --repo-id alice/tiny --private --tag v1 --metrics results.json --license mit --language en --yes "
    "--multi-vector --onnx --endpoint --space space"
)


@pytest.fixture
def calls(monkeypatch):
    calls = []
    monkeypatch.setattr(push, "push_checkpoint", lambda *arguments: calls.append(arguments))
    return calls


@pytest.mark.parametrize(("program", "prefix"), [(app, ["push"]), (hub_upload.app, [])])
def test_both_commands_pass_the_same_options_on(program, prefix, calls):
    done = CliRunner().invoke(program, [*prefix, *ARGUMENTS.split()])
    assert done.exit_code == 0, done.output
    options = (Path("results.json"), "mit", ["en"], True, True, True, True, Path("space"))
    assert calls == [(Path("folder"), "alice/tiny", True, None, "v1", False, None, *options)]


@pytest.mark.parametrize("error", [UploadError, CardError])
def test_an_error_is_one_line_and_exit_status_1(error, monkeypatch):
    def fail(*_):
        raise error("One sentence.")

    monkeypatch.setattr(push, "push_checkpoint", fail)
    done = CliRunner().invoke(app, ["push", "folder", "--repo-id", "alice/tiny"])
    assert done.exit_code == 1 and done.stderr == "Error: One sentence.\n"
