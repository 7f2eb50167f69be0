"""`audio-branch export`: what it prints, and errors of one line."""

import pytest
from typer.testing import CliRunner

from helpers.models import make_model, tiny_config
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.cli import app


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    make_model(AudioBranchModel, tiny_config()).save_pretrained(folder)
    return str(folder)


def run(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def test_it_writes_a_folder_and_says_how_near_it_is(checkpoint, tmp_path):
    done = run(checkpoint, tmp_path / "out", "--format", "torchscript")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "model_torchscript.pt").is_file()
    assert "it differs from the model by at most" in done.stdout
    done = run(checkpoint, tmp_path / "features", "--format", "torchscript", "--from", "features", "--spans")
    assert done.exit_code == 0, done.output
    assert "`spans`" in (tmp_path / "features" / "README.md").read_text()


def test_errors_are_one_line(checkpoint, tmp_path):
    done = run(checkpoint, tmp_path / "out", "--format", "torch", "--int8")
    assert done.exit_code == 1 and done.stderr == (
        "--int8 goes with the formats onnx and openvino, not torch; leave it out.\n"
    )
    assert run(checkpoint, tmp_path / "out", "--format", "coreml").exit_code == 2
