"""Words cut out of recordings."""

import pytest
import soundfile

from helpers.phrases import FakeEspeak
from recipes.phrases import cutting
from recipes.phrases.audio import SAMPLE_RATE
from recipes.phrases.transcripts import Transcript


@pytest.mark.parametrize("known", ["adl", "ad", "al", "dl"])
def test_a_run_of_words_is_cut_only_where_its_own_words_are_known(known, paused, monkeypatch, tmp_path):
    recording, clip = paused
    monkeypatch.setattr(cutting, "DATA", tmp_path)
    text, seconds = "« Aujour d\u2019hui, là-bas »", len(recording) / SAMPLE_RATE
    begins = {"a": (2, 0.0), "d": (9, 0.25 * seconds), "l": (16, 0.75 * seconds)}
    espeak = FakeEspeak(recording, dict(begins[word] for word in known))
    texts = set()
    for number in range(12):  # each file chooses its own runs
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, clip, SAMPLE_RATE)
        texts |= {run for run, _ in cutting.cut_words(Transcript(path, text, "fr", "anna"), espeak)}
    runs = {"aujour": "ad", "d'hui": "dl", "là-bas": "l", "aujour d'hui": "adl", "d'hui là-bas": "dl"}
    assert texts == {run for run, needed in runs.items() if {*needed} <= {*known}}
