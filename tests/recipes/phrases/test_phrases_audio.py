"""Recordings are trimmed to their speech."""

import numpy as np

from recipes.phrases.audio import SAMPLE_RATE, trim


def test_trimming_takes_off_what_lies_before_and_after_the_speech():
    clip = np.zeros(SAMPLE_RATE, np.float32)
    clip[3000:5000] = np.random.default_rng(0).standard_normal(2000)
    assert 2000 <= len(trim(clip)) <= 2000 + 4 * SAMPLE_RATE // 50
    assert len(trim(np.zeros(100, np.float32))) == 100
