"""recipes/emotion/augmentation.py: the speed, the noise and the bandwidth of training clips."""

import math

import pytest
import torch

from recipes.emotion import augmentation
from recipes.emotion.augmentation import Augmentation, limit_bandwidth

RATE = 16000


def test_clips_change_in_length_and_samples_but_a_silent_clip_stays_finite():
    clip = torch.randn(RATE)
    augmented = [Augmentation(RATE)(clip) for _ in range(30)]
    assert {len(each) for each in augmented} == {RATE, math.ceil(RATE / 0.9), math.ceil(RATE / 1.1)}
    assert any(len(each) == RATE and not torch.equal(each, clip) for each in augmented)
    assert any(torch.equal(each, clip) for each in augmented)
    assert all(Augmentation(RATE)(torch.zeros(800)).isfinite().all() for _ in range(30))


def test_the_noise_has_the_signal_to_noise_ratio_that_was_drawn(monkeypatch):
    monkeypatch.setattr(augmentation, "SPEED_PROBABILITY", 0.0)
    monkeypatch.setattr(augmentation, "NOISE_PROBABILITY", 1.0)
    monkeypatch.setattr(augmentation, "BANDWIDTH_PROBABILITY", 0.0)
    monkeypatch.setattr(augmentation, "SNR_DB", (20.0, 20.0))
    clip = torch.randn(RATE).cumsum(0).sin()
    noise = Augmentation(RATE)(clip) - clip
    assert 10 * (clip.square().sum() / noise.square().sum()).log10().item() == pytest.approx(20, abs=1e-3)


def test_a_limited_bandwidth_keeps_low_tones_and_removes_high_ones():
    seconds = torch.arange(RATE) / RATE
    low, high = (torch.sin(2 * torch.pi * hertz * seconds) for hertz in (1000, 6000))
    torch.testing.assert_close(limit_bandwidth(low + high, 0.5), low, atol=0.01, rtol=0)
