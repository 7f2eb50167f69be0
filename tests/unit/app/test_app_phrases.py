"""A phrase in a recording on the page."""

import numpy as np
import pytest
import soundfile

from helpers.recordings import RATE, index_model, write_recordings
from modeling_audio_branch.app.phrases import find_phrase
from modeling_audio_branch.corpus.errors import CorpusError


def test_a_part_of_the_recording_is_found_where_it_is(tmp_path):
    (recording,) = write_recordings(tmp_path / "in", 1, seconds=4.0)
    samples, _ = soundfile.read(recording)
    phrase = tmp_path / "phrase.wav"
    soundfile.write(phrase, samples[2 * RATE : 3 * RATE], RATE)
    found = find_phrase(index_model(), str(phrase), recording, tmp_path)
    assert found.names[0].startswith("1. at 0:02.0") or found.names[0].startswith("1. at 0:01.9")
    assert len(found.names) == len(found.sounds) and open(found.picture, "rb").read(4) == b"\x89PNG"
    cut, rate = soundfile.read(found.sounds[0])
    assert rate == RATE and abs(len(cut) / RATE - 1.0) < 0.2
    assert found.sentence.endswith("choose one to hear it.")


def test_a_phrase_that_is_too_long_is_refused(tmp_path):
    (recording,) = write_recordings(tmp_path / "in", 1)
    soundfile.write(tmp_path / "phrase.wav", np.zeros(21 * RATE), RATE)
    with pytest.raises(CorpusError, match="give 0.2 to 20 s"):
        find_phrase(index_model(), str(tmp_path / "phrase.wav"), recording, tmp_path)
