"""`audio-branch embed`."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from helpers.corpora import as_rows, corpus_model, write_corpus
from modeling_audio_branch.cli import app


@pytest.fixture
def checkpoint(tmp_path):
    corpus_model().save_pretrained(tmp_path / "checkpoint")
    return str(tmp_path / "checkpoint")


def run(*arguments):
    return CliRunner().invoke(app, ["embed", *map(str, arguments)])


def test_a_corpus_is_embedded_goes_on_and_is_verified(tmp_path, checkpoint):
    write_corpus(tmp_path / "corpus", 6, broken=1)
    rest = ("--out", tmp_path / "out", "--model", checkpoint, "--workers", 0)
    done = run(tmp_path / "corpus", *rest, "--shard", "0/2", "--rows-per-shard", 2)
    assert done.exit_code == 0, done.output
    done = run(tmp_path / "corpus", *rest, "--shard", "1/2", "--rows-per-shard", 2)
    assert done.exit_code == 0, done.output
    assert "1 left out, 0 shards left; peak memory" in " ".join(done.stdout.split()) or "0 left out" in done.stdout
    assert "errors.parquet" in done.stderr and len(as_rows(tmp_path / "out")) == 6
    done = run(tmp_path / "corpus", *rest)
    assert done.exit_code == 0 and done.stdout.startswith("0 rows of 0.00 hours embedded")
    done = run("--verify", tmp_path / "out")
    assert done.exit_code == 0 and "6 rows computed again" in done.stdout
    write_corpus(tmp_path / "corpus", 6, seed=9)
    done = run("--verify", tmp_path / "out")
    assert done.exit_code == 1 and "is not the audio that was embedded" in done.stderr


def test_the_recordings_are_also_added_to_an_index(tmp_path, checkpoint):
    write_corpus(tmp_path / "corpus", 3, broken=1)
    rest = ("--model", checkpoint, "--workers", 0, "--db", tmp_path / "db")
    done = run(tmp_path / "corpus", "--out", tmp_path / "out", *rest)
    assert done.exit_code == 0 and "3 recordings added to the index" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["corpus"], "give files or folders, and --out DIR"),
        (["corpus", "--out", "out", "--int8", "--binary"], "--int8 and --binary were both given"),
        (["corpus", "--out", "out", "--shard", "2"], "give I/N, such as 0/4"),
        (["corpus", "--out", "out", "--shard", "2/2"], "give \\(I, N\\)"),
        (["corpus", "--out", "out", "--binary", "--sequence-embedding"], "leave out int8 and binary"),
        (["nowhere", "--out", "out"], "is neither a file nor a folder"),
        (["--verify", "nowhere"], "nowhere holds no features"),
    ],
)
def test_bad_input_gets_one_line(arguments, message, tmp_path, checkpoint, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_corpus(tmp_path / "corpus", 1)
    done = run(*arguments, "--model", checkpoint)
    assert done.exit_code == 1 and done.stderr.count("\n") == 1, done.output
    assert re.search(message, done.stderr)


def test_ctrl_c_tells_what_to_type_to_go_on(tmp_path, checkpoint):
    write_corpus(tmp_path / "corpus", 300)
    arguments = [str(tmp_path / "corpus"), "--out", str(tmp_path / "out"), "--model", checkpoint]
    arguments += ["--rows-per-shard", "3", "--workers", "1", "--batch-seconds", "0.5"]
    command = [sys.executable, "-m", "modeling_audio_branch", "embed", *arguments]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    while not (tmp_path / "out" / "features-000001.parquet").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it, too
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert f"Stopped; to go on: audio-branch embed {shlex.join(arguments)}" in " ".join(error.split("\n"))
    assert "Traceback" not in error
