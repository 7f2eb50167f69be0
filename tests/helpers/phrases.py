"""Clips and a stand-in for espeak-ng for the tests of recipes/phrases."""

import numpy as np

from recipes.phrases.audio import SAMPLE_RATE
from recipes.phrases.clips import ClipRecord
from recipes.phrases.dataset import TrainingClip
from recipes.phrases.espeak import SynthesizedClip


def make_source(lengths, languages="ab"):
    """Records and samples: two clips, of a person and of espeak-ng, for each length in samples; clip i has text i."""
    records, start = [], 0
    for text, length in enumerate(lengths):
        for voice in ("anna", "espeak+f1"):
            records.append(ClipRecord(start, length, text, languages[text % len(languages)], voice))
            start += length
    return records, np.random.default_rng(0).integers(-20000, 20000, start).astype(np.int16)


def make_clips(lengths, languages="ab"):
    """Training clips of `make_source`."""
    records, samples = make_source(lengths, languages)
    return [TrainingClip(record, samples) for record in records]


class FakeEspeak:
    """Each voice plays a recording at its own speed, in which words start at known times (seconds, by position)."""

    variants = [f"x{number}" for number in range(5)]

    def __init__(self, recording: np.ndarray, times: dict[int, float], late: float = 0.0):
        self.recording, self.times, self.late = recording, times, late

    def synthesize(self, text, voice, words_per_minute, pitch):
        number = int(voice[-1])
        speed = 1.0 + 0.04 * number
        positions = np.arange(0, len(self.recording) - 1, speed)
        clip = np.interp(positions, np.arange(len(self.recording)), self.recording).astype(np.float32)
        silence = np.zeros(SAMPLE_RATE // 5, np.float32)  # the times count it, too
        word_starts = [(at, 0.2 + time / speed + self.late * number) for at, time in self.times.items()]
        return SynthesizedClip(np.concatenate([silence, clip, silence]), word_starts)
