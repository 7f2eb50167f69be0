"""The demo as a user runs it, on the recordings that it ships with."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from helpers.models import make_model, tiny_config

from modeling_audio_branch import AudioBranchModel

EXAMPLES = Path(__file__).parents[1] / "examples"
RECORDINGS = sorted(path for path in (EXAMPLES / "audio").iterdir() if path.suffix in {".wav", ".flac", ".ogg"})
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def demo():
    """examples/demo.py as a module: importing torch anew for each test would take longer than all the tests."""
    spec = importlib.util.spec_from_file_location("demo", EXAMPLES / "demo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*arguments):
    command = [sys.executable, EXAMPLES / "demo.py", *arguments]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # two pytest workers share two cores
    return subprocess.run(command, capture_output=True, text=True, cwd=EXAMPLES.parent, env=one_thread, timeout=300)


def save_tiny(folder, **choices):
    make_model(AudioBranchModel, tiny_config(**choices)).save_pretrained(folder)
    return str(folder)


def is_png(path):
    return path.read_bytes().startswith(PNG_SIGNATURE)


def test_the_demo_prints_a_row_per_clip_keeps_its_promise_and_draws(demo, tmp_path):
    picture = tmp_path / "new folder" / "demo.png"
    done = run("--output", picture)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for path in RECORDINGS:
        assert sum(line.startswith(path.name) for line in lines) == 1
    assert max(len(line) for line in lines if not line.startswith("Picture")) <= 100
    difference = float(lines[-1].split("at most ")[1].split()[0])
    assert difference < 1e-4
    assert is_png(picture)


@pytest.mark.parametrize("pooling_type", ["attention", "max", "avg", "learnable"])
def test_every_pooling_of_a_checkpoint_is_drawn(demo, tmp_path, capsys, pooling_type):
    model = save_tiny(tmp_path / "model", pooling_type=pooling_type, subsampling_factor=4)
    picture = tmp_path / "demo.png"
    assert demo.main(["--model", model, "--output", str(picture), *map(str, RECORDINGS[:2])]) == 0
    assert is_png(picture)
    assert "random" not in capsys.readouterr().out


@pytest.mark.parametrize("fault", ["no file", "no audio", "no model", "broken model", "too short", "no picture"])
def test_bad_input_ends_in_one_sentence(demo, tmp_path, capsys, fault):
    bad, picture = tmp_path / "bad.wav", tmp_path / "demo.png"
    arguments = ["--output", str(picture), str(bad)]
    if fault == "no audio":
        bad.write_text("This is text.")
    elif fault == "too short":
        soundfile.write(bad, [0.0] * 10, 16000)
    elif fault == "no picture":
        picture.mkdir()
        soundfile.write(bad, [0.0] * 16000, 16000)
    elif fault != "no file":
        soundfile.write(bad, [0.0] * 16000, 16000)
    model = tmp_path / "model"
    if fault == "broken model":
        model.mkdir()
        (model / "config.json").write_text("{")
    elif fault != "no model":
        save_tiny(model)
    assert demo.main([*arguments, "--model", str(model)]) == 1
    sentence = capsys.readouterr().err.splitlines()[-1]
    named = {"no model": model, "broken model": model, "no picture": picture}.get(fault, bad)
    assert named.name in sentence
    assert not picture.is_file()


def test_an_unreadable_file_ends_in_one_sentence_on_the_command_line(demo, tmp_path):
    bad, picture = tmp_path / "bad.wav", tmp_path / "demo.png"
    bad.write_text("This is text.")
    done = run(bad, "--output", picture)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and bad.name in done.stderr
    assert not picture.exists()


def test_a_long_clip_is_pictured_in_part_and_silence_whole(demo, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "PICTURED_SECONDS", 1)
    soundfile.write(tmp_path / "song [live].wav", [0.0] * 32000, 16000)
    model = save_tiny(tmp_path / "model")
    picture = tmp_path / "demo.png"
    assert demo.main(["--model", model, "--output", str(picture), str(tmp_path / "song [live].wav")]) == 0
    assert is_png(picture)


def test_every_recording_has_an_entry_in_its_readme():
    entries = (EXAMPLES / "audio" / "README.md").read_text().splitlines()
    files = {path.name for path in (EXAMPLES / "audio").iterdir()} - {"README.md", "LICENSE"}
    assert files == {line.split("`")[1] for line in entries if line.startswith("| `")}
    assert len(files) >= 4
