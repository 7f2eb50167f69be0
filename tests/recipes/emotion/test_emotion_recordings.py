"""recipes/emotion/recordings.py: what can't be used is left out and listed."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recipes.emotion.data import load_folder
from recipes.emotion.recordings import DataError, Recording, drop_unusable

RATE = 16000


def test_unreadable_and_empty_files_and_duplicates_are_left_out_and_listed(ravdess, tmp_path):
    source = next((ravdess / "Actor_01").iterdir())
    (tmp_path / "happy").mkdir()
    (tmp_path / "sad").mkdir()
    shutil.copy(source, tmp_path / "happy" / "anna-1.wav")
    shutil.copy(source, tmp_path / "sad" / "ben-1.wav")  # the same audio
    (tmp_path / "sad" / "ben-2.wav").write_bytes(b"no audio")
    soundfile.write(tmp_path / "sad" / "ben-3.wav", np.zeros(0), RATE)
    soundfile.write(tmp_path / "sad" / "ben-4.wav", np.ones(RATE // 2), RATE)
    recordings, left_out = drop_unusable(load_folder(tmp_path))
    assert [each.audio.name for each in recordings] == ["anna-1.wav", "ben-4.wav"] and recordings[1].seconds == 0.5
    assert recordings[0].speaker == "anna"
    reasons = {Path(name).name: reason for name, reason in left_out}
    assert "same audio as" in reasons["ben-1.wav"] and "no samples" in reasons["ben-3.wav"]
    assert "can't be read" in reasons["ben-2.wav"]
    with pytest.raises(DataError, match="at least two"):
        drop_unusable(recordings[:1])
    with pytest.raises(DataError, match="1 of 2 recordings have no speaker"):
        drop_unusable([replace(recordings[0], speaker=None), recordings[1]])
    soundfile.write(tmp_path / "sad" / "ben-5.wav", np.array([0.1, np.nan, 0.1]), RATE, subtype="FLOAT")
    broken = source.read_bytes()
    (tmp_path / "sad" / "ben-6.wav").write_bytes(broken)
    soundfile.write(tmp_path / "whole.flac", soundfile.read(source)[0], RATE)
    (tmp_path / "sad" / "ben-7.flac").write_bytes((tmp_path / "whole.flac").read_bytes()[:3000])
    _, left_out = drop_unusable(load_folder(tmp_path))
    reasons = {Path(name).name: reason for name, reason in left_out}
    assert "NaN or infinite" in reasons["ben-5.wav"] and "can't be read" in reasons["ben-7.flac"]
    twice = [Recording(broken, label, "anna", name=f"row {label}") for label in "xyx"]
    twice[1].audio = (tmp_path / "whole.flac").read_bytes()
    usable, left_out = drop_unusable(twice)
    assert len(usable) == 2 and left_out == [("row x", "is the same audio as row x")]
