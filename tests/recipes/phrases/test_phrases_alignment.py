"""Starts of words in a recording."""

import numpy as np

from helpers.phrases import FakeEspeak
from recipes.phrases.alignment import word_starts
from recipes.phrases.audio import SAMPLE_RATE


def test_words_are_found_in_a_recording_by_synthesized_clips_at_other_speeds(paused):
    recording, clip = paused
    seconds = len(recording) / SAMPLE_RATE
    positions, times = [0, 3, 7], {0: 0.0, 3: 0.25 * seconds, 7: 0.75 * seconds}  # of "go", "far" and "on"

    def find(espeak):
        return word_starts(espeak, clip, "go far on", positions, "x", FakeEspeak.variants)

    starts, is_certain = find(FakeEspeak(recording, times))
    assert is_certain == [True] * 3
    assert np.abs(np.subtract(starts, [0.0, 0.25 * seconds, 0.75 * seconds + 0.25])).max() < 0.05
    assert not all(find(FakeEspeak(recording, times, late=0.1))[1])  # each voice has its words elsewhere
    without_far = FakeEspeak(recording, {0: 0.0, 7: 0.75 * seconds})  # the voices speak "go far" as one word
    assert find(without_far)[1] == [True, False, True]
    assert find(FakeEspeak(recording[:100], times))[1] == [False] * 3  # silent
