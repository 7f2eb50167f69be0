"""`audio-branch find`."""

import json
import os

import pytest
import soundfile
from typer.testing import CliRunner

from helpers.recordings import RATE, index_model, write_recordings
from modeling_audio_branch.cli import app
from modeling_audio_branch.cli.find import clock
from modeling_audio_branch.corpus import AudioIndex


@pytest.fixture
def searched(tmp_path):
    """The checkpoint, the recordings of an index in `db`, and a phrase that is in the second."""
    index_model().save_pretrained(tmp_path / "checkpoint")
    files = write_recordings(tmp_path / "recordings", 3)
    AudioIndex(tmp_path / "db", tmp_path / "checkpoint").add(files)
    phrase = soundfile.read(files[1], start=int(0.8 * RATE), stop=int(1.6 * RATE), dtype="float32")[0]
    soundfile.write(tmp_path / "phrase.wav", phrase, RATE)
    return str(tmp_path / "checkpoint"), files, tmp_path / "phrase.wav"


def run(*arguments):
    return CliRunner().invoke(app, ["find", *map(str, arguments)])


def test_hits_are_printed_as_a_table_and_as_json(tmp_path, searched):
    checkpoint, files, phrase = searched
    rest = (phrase, "--db", tmp_path / "db", "--model", checkpoint)
    done = run(*rest, "--top", 2)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["File", "start", "end", "score", "probability"]
    assert "0:00:00." in done.stdout
    done = run(*rest, "--top", 2, "--json")
    hits = json.loads(done.stdout)
    assert len(hits) == 2 and hits[0]["file"] == files[1] and hits[0]["score"] >= hits[1]["score"]
    assert set(hits[0]) == {"file", "start", "end", "score", "probability"}
    only = json.loads(run(*rest, "--json", "--in", files[0]).stdout)
    assert {hit["file"] for hit in only} == {files[0]}


def test_hits_are_cut_out_and_drawn(tmp_path, searched):
    checkpoint, _, phrase = searched
    done = run(
        *(phrase, "--db", tmp_path / "db", "--model", checkpoint, "--top", 2),
        *("--cut", tmp_path / "cut", "--picture", tmp_path / "hit.png"),
    )
    assert done.exit_code == 0, done.output
    assert len(list((tmp_path / "cut").glob("0?_*.wav"))) == 2 and (tmp_path / "hit.png").stat().st_size > 5000


def test_a_recording_that_changed_is_named(tmp_path, searched):
    checkpoint, files, phrase = searched
    os.utime(files[1], ns=(1, 1))
    done = run(phrase, "--db", tmp_path / "db", "--model", checkpoint, "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)
    assert done.stderr == f"{files[1]} has changed or is gone since it was indexed; run audio-branch index again.\n"


def test_what_is_missing_gets_one_line(tmp_path, searched):
    checkpoint, _, phrase = searched
    for arguments, sentence in {
        (tmp_path / "missing.wav", "--db", tmp_path / "db"): "is not a file",
        (phrase, "--db", tmp_path / "none"): "is empty; add recordings first",
        (phrase, "--db", tmp_path / "db", "--top", 0): "top=0 was given",
    }.items():
        done = run(*arguments, "--model", checkpoint)
        assert done.exit_code == 1 and done.stderr.count("\n") == 1 and sentence in done.stderr
    assert not (tmp_path / "none").exists()


def test_seconds_are_shown_as_a_clock():
    assert clock(0) == "0:00:00.00" and clock(3723.456) == "1:02:03.46" and clock(59.999) == "0:01:00.00"
