"""What the commands share: loading a checkpoint, and errors of one sentence."""

import pytest
import typer
from typer.testing import CliRunner

from helpers.models import make_model, tiny_config
from modeling_audio_branch import AudioBranchForAudioClassification, AudioBranchModel
from modeling_audio_branch.cli import app, common


@pytest.mark.parametrize("model_class", [AudioBranchModel, AudioBranchForAudioClassification])
def test_a_model_is_loaded_as_it_was_saved_and_in_eval_mode(tmp_path, model_class):
    make_model(model_class, tiny_config()).save_pretrained(tmp_path)
    loaded = common.load_model(str(tmp_path), trust_remote_code=False)
    assert type(loaded) is model_class and not loaded.training


@pytest.mark.parametrize("command", [("info",), ("plot", "clip.wav")])
def test_an_installed_package_asks_for_the_model(tmp_path, monkeypatch, command):
    monkeypatch.setattr(common, "CHECKOUT_CHECKPOINT", tmp_path / "none")
    done = CliRunner().invoke(app, list(command))
    assert done.exit_code == 1
    assert done.stderr == (
        "No model was given, and the installed package has none; give a folder or a Hub repository.\n"
    )


def test_an_error_of_bad_input_becomes_one_line_and_any_other_is_raised(capsys):
    with pytest.raises(typer.Exit) as end, common.exit_on_error():
        raise ValueError("first line\nsecond line")
    assert end.value.exit_code == 1 and capsys.readouterr().err == "first line\n"
    with pytest.raises(KeyError), common.exit_on_error():
        raise KeyError("a bug")


def test_an_error_without_a_message_is_named():
    assert common.first_line(OSError()) == "OSError"


def test_a_command_may_name_the_errors_that_become_one_line(capsys):
    with pytest.raises(typer.Exit), common.exit_on_error(KeyError):
        raise KeyError("a")
    with pytest.raises(ValueError), common.exit_on_error(KeyError):
        raise ValueError("a bug")
    assert capsys.readouterr().err == "'a'\n"
