"""Which files are recordings."""

import os

import pytest

from helpers.recordings import write_recordings
from modeling_audio_branch.corpus.errors import CorpusError
from modeling_audio_branch.corpus.files import recordings_in


def test_files_are_taken_as_they_are_and_folders_by_their_audio_files(tmp_path, monkeypatch):
    paths = write_recordings(tmp_path / "b", 2)
    write_recordings(tmp_path / "b" / "inner", 1)
    (tmp_path / "b" / "notes.txt").write_text("no audio")
    (tmp_path / "b" / "LOUD.WAV").write_bytes(b"")
    expected = [tmp_path / "b" / name for name in ("0.wav", "1.wav", "LOUD.WAV", "inner/0.wav")]
    assert recordings_in(tmp_path / "b") == [*map(str, expected)]
    assert recordings_in([paths[1], tmp_path / "b" / "notes.txt", paths[1]]) == [
        paths[1],
        str(tmp_path / "b" / "notes.txt"),
    ]
    monkeypatch.chdir(tmp_path)
    assert recordings_in("b/1.wav") == [paths[1]]


def test_what_is_no_recording_gets_a_sentence(tmp_path):
    for path, sentence in {
        tmp_path / "missing": "neither a file nor a folder",
        tmp_path: "holds no audio files",
    }.items():
        with pytest.raises(CorpusError, match=sentence):
            recordings_in(path)
    name = os.path.join(os.fsencode(tmp_path), b"caf\xe9.wav")
    with open(name, "wb"):
        pass
    with pytest.raises(CorpusError, match="not UTF-8; rename the file"):
        recordings_in(tmp_path)
