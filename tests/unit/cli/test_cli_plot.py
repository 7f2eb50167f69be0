"""`audio-branch plot`, and the app that has the commands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from transformers import BertConfig, BertModel
from typer.testing import CliRunner

from helpers.models import make_model, tiny_config
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.cli import app

ROOT = Path(__file__).parents[3]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def clip(tmp_path):
    soundfile.write(tmp_path / "clip.wav", [0.0, 0.1] * 8000, 16000)
    return tmp_path / "clip.wav"


def save_tiny(folder):
    make_model(AudioBranchModel, tiny_config()).save_pretrained(folder)
    return folder


def test_all_commands_are_registered():
    done = run("--help")
    assert done.exit_code == 0
    names = ("convert", "push", "plot", "info", "index", "find", "embed", "check-batching", "export", "serve", "app")
    assert all(f" {name} " in done.stdout for name in names)
    assert sorted(command.callback.__name__ for command in app.registered_commands) == [
        *(
            "check_batching",
            "convert",
            "embed",
            "export",
            "find",
            "gradio_app",
            "index",
            "info",
            "plot",
            "push",
            "serve",
        )
    ]


def test_the_package_runs_as_the_command():
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "modeling_audio_branch", "plot", "none.wav"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 1 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and "none.wav" in done.stderr


def test_plot_writes_the_picture_of_a_file(tmp_path, clip):
    picture = tmp_path / "new" / "picture.png"
    done = run("plot", clip, "--model", save_tiny(tmp_path / "model"), "--output", picture)
    assert done.exit_code == 0, done.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert done.stdout == f"Picture of clip.wav: {picture}\n"


def test_plot_names_the_picture_after_the_file_and_uses_the_checkpoint_of_the_checkout(tmp_path, clip, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run("plot", clip)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "clip.segments.png").is_file()


@pytest.mark.parametrize("fault", ["no file", "no audio", "no model", "foreign model", "broken weights", "no picture"])
def test_bad_input_ends_in_one_sentence_on_stderr(tmp_path, clip, fault):
    model, picture = tmp_path / "model", tmp_path / "picture.png"
    if fault == "foreign model":
        sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
        BertModel(BertConfig(vocab_size=9, **sizes)).save_pretrained(model)
    elif fault != "no model":
        save_tiny(model)
    if fault == "no file":
        clip.unlink()
    elif fault == "no audio":
        clip.write_text("This is text.")
    elif fault == "broken weights":
        (model / "model.safetensors").write_bytes(b"no weights")
    elif fault == "no picture":
        picture.mkdir()
    done = run("plot", clip, "--model", model, "--output", picture)
    assert done.exit_code == 1 and done.stdout == ""
    named = {"no picture": picture, "no file": clip, "no audio": clip}.get(fault, model)
    assert len(done.stderr.splitlines()) == 1 and named.name in done.stderr
    assert not picture.is_file()
