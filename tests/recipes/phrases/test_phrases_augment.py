"""Augmentation of training clips."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.phrases.audio import SAMPLE_RATE
from recipes.phrases.augment import add_random_noise, augment, change_speed, insert_pause, pad_ends, surround


@given(st.integers(0, 10**6), st.integers(2400, 40000))
def test_another_speed_keeps_the_order_and_a_pause_only_adds_silence(seed, length):
    generator = np.random.default_rng(seed)
    ramp = np.arange(1, length + 1, dtype=np.float32)
    faster = change_speed(ramp, generator)
    assert (np.diff(faster) > 0).all() and faster[-1] >= length - 3
    paused = insert_pause(ramp, generator)
    assert paused[paused > 0].tolist() == ramp.tolist()
    assert 0.8 * SAMPLE_RATE > length or 0.05 * SAMPLE_RATE - 1 <= len(paused) - length <= 0.25 * SAMPLE_RATE


@given(st.integers(0, 10**6), st.integers(2400, 20000))
def test_augmented_clips_are_finite_and_keep_their_samples(seed, length):
    generator = np.random.default_rng(seed)
    clip = np.zeros(length, np.float32)
    clip[length // 2] = 1.0
    augmented, first, last = augment(clip, generator)
    assert augmented.dtype == np.float32 and np.isfinite(augmented).all() and np.abs(augmented).max() > 0
    assert (first, last) == (0, len(augmented))


@given(st.integers(0, 10**6), st.integers(2400, 20000))
def test_ends_are_silence_or_noise_below_the_clip_which_stays_as_it_is(seed, length):
    clip = np.sin(np.arange(length) / 5)
    padded = pad_ends(clip, np.random.default_rng(seed))
    before, after = (0.4 * np.random.default_rng(seed).random(2) ** 2 * SAMPLE_RATE).astype(int)
    assert len(padded) == before + length + after <= length + 0.8 * SAMPLE_RATE
    assert np.array_equal(padded[before : before + length], clip)
    ends = np.concatenate([padded[:before], padded[before + length :]])
    decibels = 10 * np.log10(np.square(ends).mean() / np.square(clip).mean()) if len(ends) > 800 and ends.any() else -20
    assert -41 < decibels < -9


@given(st.integers(0, 10**6), st.integers(2400, 20000), st.integers(2400, 20000))
def test_a_surrounded_clip_is_whole_where_its_span_says(seed, length, other):
    generator = np.random.default_rng(seed)
    clip = np.linspace(0.5, 1.0, length, dtype=np.float32)
    around = (np.full(other, 0.1, np.float32), np.full(other, 0.2, np.float32))
    samples, first, last = surround(clip, around, generator)
    assert np.array_equal(samples[first:last], clip)
    before, after = samples[:first], samples[last:]
    assert len(before) and len(after) and not before[-1] and not after[0]  # a pause on either side
    assert before.max() < 0.5 and after.max() < 0.5  # pieces of the others, not of the clip
    assert len(before) + len(after) <= 2 * (0.8 + 0.4) * SAMPLE_RATE


@pytest.mark.parametrize("seed", range(4))  # white noise and low noise
def test_noise_is_5_to_35_decibels_below_the_clip(seed):
    clip = np.sin(np.arange(8000) / 5)
    noise = add_random_noise(clip, np.random.default_rng(seed)) - clip
    assert 5 <= 10 * np.log10(np.square(clip).mean() / np.square(noise).mean()) <= 35
    silence = np.zeros(8000, np.float32)
    assert not add_random_noise(silence, np.random.default_rng(seed)).any()
