"""Changed clips."""

import numpy as np
import pytest
import torch

from recipes.phrases import robustness
from recipes.phrases.robustness import CONDITIONS, evaluate_robustness

CLIP = (0.4 * np.sin(np.arange(8000) / 5) * np.linspace(0.2, 1, 8000)).astype(np.float32)


def decibels(samples):
    return 10 * np.log10(np.square(samples).mean())


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_changed_clip_is_finite_always_the_same_and_has_the_length_of_its_condition(name):
    first, second = (CONDITIONS[name](CLIP, np.random.default_rng(0)) for _ in range(2))
    assert first.dtype == np.float32 and np.isfinite(first).all() and np.array_equal(first, second)
    length = {"0.8 times as fast": 10000, "1.25 times as fast": 6400}.get(name, 8000 + 4800 * ("ends" in name))
    assert abs(len(first) - length) <= 1
    assert np.array_equal(first, CLIP) == (name == "clean")


def test_noise_is_as_loud_as_its_condition_says():
    for level in (10, 0):
        noisy = CONDITIONS[f"noise, {level} dB"](CLIP, np.random.default_rng(0))
        assert decibels(CLIP) - decibels(noisy - CLIP) == pytest.approx(level, abs=0.01)
    ends = CONDITIONS["0.3 s of noise at both ends"](CLIP, np.random.default_rng(0))
    assert np.array_equal(ends[2400:-2400], CLIP)
    assert decibels(ends[:2400]) - decibels(CLIP) == pytest.approx(-20, abs=0.5)
    assert not CONDITIONS["0.3 s of silence at both ends"](CLIP, np.random.default_rng(0))[:2400].any()


def test_only_the_second_speakers_clips_are_changed(monkeypatch):
    clips = [np.full(8000, 0.1 * i, np.float32) for i in range(1, 5)]
    monkeypatch.setattr(robustness, "SPEAKER_PAIRS", {"it": None})
    monkeypatch.setattr(robustness, "load_pairs", lambda _: (clips, clips))
    seen = []

    def embed(model, given):
        seen.append([len(clip) for clip in given])
        return torch.eye(4).unsqueeze(1)

    monkeypatch.setattr(robustness, "embed", embed)
    results = evaluate_robustness({"ours": None})
    assert [each.condition for each in results] == list(CONDITIONS)
    assert all(each.at_1.value == 100 and each.method == "ours" for each in results)
    assert seen[0] == [8000] * 4 and len(seen) == 1 + len(CONDITIONS)
    assert [12800] * 4 in seen[1:]
