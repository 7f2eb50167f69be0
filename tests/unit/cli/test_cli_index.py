"""`audio-branch index`."""

import os

import pytest
from typer.testing import CliRunner

from helpers.recordings import index_model, write_recordings
from modeling_audio_branch.cli import app


@pytest.fixture
def checkpoint(tmp_path):
    index_model().save_pretrained(tmp_path / "checkpoint")
    return str(tmp_path / "checkpoint")


def run(*arguments):
    return CliRunner().invoke(app, ["index", *map(str, arguments)])


def test_recordings_are_added_skipped_left_out_and_removed(tmp_path, checkpoint):
    files = write_recordings(tmp_path / "recordings", 3)
    rest = ("--db", tmp_path / "db", "--model", checkpoint)
    done = run(tmp_path / "recordings", *rest)
    assert done.exit_code == 0, done.output
    assert "3 added, 0 unchanged, 0 left out; the index" in " ".join(done.stdout.split())
    with open(files[1], "wb") as file:
        file.write(b"no audio")
    os.remove(files[0])
    done = run(tmp_path / "recordings", *rest)
    assert done.exit_code == 1 and "1.wav" in done.stderr and "can't be read as audio" in done.stderr
    assert "0 added, 1 unchanged, 1 left out" in " ".join(done.stdout.split())
    done = run(files[0], "--remove", "--db", tmp_path / "db")
    assert done.exit_code == 0 and "holds 2 recordings" in done.stdout
    done = run(files[0], "--remove", "--db", tmp_path / "db")
    assert done.exit_code == 1 and done.stderr.count("\n") == 1 and "is not in the index" in done.stderr


def test_another_model_gets_one_line(tmp_path, checkpoint):
    files = write_recordings(tmp_path / "recordings", 1)
    run(*files, "--db", tmp_path / "db", "--model", checkpoint)
    index_model(seed=1).save_pretrained(tmp_path / "other")
    done = run(*files, "--db", tmp_path / "db", "--model", tmp_path / "other")
    assert done.exit_code == 1 and done.stderr.count("\n") == 1 and "was made by another model" in done.stderr
