"""Pairs of clips of the same text."""

from dataclasses import replace

import numpy as np
import torch

from helpers.phrases import make_source
from recipes.phrases.dataset import PhrasePairs, choose_pair, collate


def test_a_pair_is_two_clips_of_one_text():
    data = PhrasePairs(make_source([4000, 6000]))
    for index, length in enumerate((4000, 6000)):
        clips = [clip for _ in range(20) for clip in data[index]]
        assert len(data[index]) == 2
        # Up to 1.25 times as fast, or 0.8 times, and unevenly so; a pause; 50 ms cut at both ends, or 0.12 s added.
        assert all(0.45 * length <= len(clip) <= 1.6 * length + 3920 for clip in clips)


def test_the_same_words_of_two_sources_are_one_text():
    source, (records, samples) = make_source([4000, 6000]), make_source([3000])
    data = PhrasePairs(source, (records, samples))
    assert [{clip.record.length for clip in clips} for clips in data.texts] == [{4000, 3000}, {6000}]
    clips = [clip.waveform() for clip in data.texts[0] if clip.record.length == 3000]
    np.testing.assert_allclose(np.concatenate(clips), samples / 2**15, rtol=1e-6)


def test_a_pair_is_of_two_voices_where_there_are_two():
    (human, synthesized), samples = make_source([4000])
    records = [human, replace(human, start=4000, length=3999), replace(synthesized, length=2000)]
    (clips,) = PhrasePairs((records, samples)).texts
    pairs = [choose_pair(clips, np.random.default_rng(seed)) for seed in range(30)]
    assert all(len({clip.record.voice for clip in pair}) == 2 for pair in pairs)


def test_the_clips_of_a_pair_are_half_a_batch_apart():
    pairs = [(np.full(2, 1.0, np.float32), np.full(3, 2.0, np.float32)), (np.ones(1, np.float32),) * 2]
    batch = collate(pairs)
    assert batch["input_features"].tolist() == [[1, 1, 0], [1, 0, 0], [2, 2, 2], [1, 0, 0]]
    assert torch.equal(batch["attention_mask"], batch["input_features"] > 0)
