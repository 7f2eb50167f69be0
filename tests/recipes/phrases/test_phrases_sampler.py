"""Batches of one language and of similar lengths."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from helpers.phrases import make_clips
from recipes.phrases.dataset import PhrasePairs
from recipes.phrases.sampler import MAX_TEXTS, LengthBucketBatchSampler


@given(st.lists(st.integers(2400, 40000), min_size=1, max_size=60), st.integers(0, 3), st.integers(0, 3))
def test_a_batch_is_of_one_language_and_no_text_is_twice_in_an_epoch(lengths, seed, epoch):
    data = PhrasePairs(make_clips(lengths))
    sampler = LengthBucketBatchSampler(data, 6.0, seed)
    sampler.set_epoch(epoch)
    batches = [*sampler]
    assert len(batches) == len(sampler) and batches == [*sampler]
    indices = [index for batch in batches for index in batch]
    assert len(set(indices)) == len(indices)
    for batch in batches:
        assert len({data.texts[index][0].record.language for index in batch}) == 1
        assert len(batch) <= MAX_TEXTS


def test_batches_are_of_similar_length_and_differ_by_epoch():
    lengths = np.linspace(4000, 40000, 400).astype(int)
    sampler = LengthBucketBatchSampler(PhrasePairs(make_clips(lengths)), 40.0, 0)
    first = [*sampler]
    spreads = [max(lengths[batch]) / min(lengths[batch]) for batch in first]
    assert np.median(spreads) < 2.5  # of 10 in all
    sampler.set_epoch(1)
    assert [*sampler] != first


def test_a_small_language_is_a_batch_of_its_own():
    (batch,) = LengthBucketBatchSampler(PhrasePairs(make_clips([8000] * 16, "a")), 240.0, 0)
    assert sorted(batch) == [*range(16)]
    assert not [*LengthBucketBatchSampler(PhrasePairs(make_clips([8000] * 15, "a")), 240.0, 0)]
