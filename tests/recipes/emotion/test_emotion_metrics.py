"""recipes/emotion/metrics.py: unweighted and weighted accuracy, and intervals that draw whole speakers."""

import numpy as np
import pytest

from recipes.emotion.metrics import accuracy_by_speaker, bootstrap_ci, classification_metrics


def test_the_unweighted_accuracy_is_the_mean_recall():
    targets, predictions = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 0, 1, 0])
    scores = classification_metrics(targets, predictions)
    assert scores["UA"] == pytest.approx((1 + 0.5) / 2) and scores["WA"] == pytest.approx(5 / 6)
    assert scores["macro-F1"] == pytest.approx((8 / 9 + 2 / 3) / 2)


def test_the_interval_draws_speakers_so_that_their_clips_count_together():
    generator = np.random.default_rng(0)
    speakers = np.repeat([f"speaker {i}" for i in range(10)], 50)
    targets = generator.integers(0, 2, 500)
    # All clips of 7 speakers are predicted correctly, and none of the other 3.
    predictions = np.where(np.repeat(np.arange(10) < 7, 50), targets, 1 - targets)
    by_speaker = bootstrap_ci(targets, predictions, speakers)["WA"]
    by_clip = bootstrap_ci(targets, predictions, [None] * 500)["WA"]
    assert by_speaker.value == by_clip.value == pytest.approx(0.7)
    assert by_speaker.high - by_speaker.low > 4 * (by_clip.high - by_clip.low)
    accuracies = accuracy_by_speaker(targets, predictions, speakers)
    assert accuracies["speaker 0"] == 1.0 and accuracies["speaker 9"] == 0.0


def test_the_interval_of_one_speaker_is_the_value_itself():
    estimate = bootstrap_ci([0, 1, 1, 0], [0, 1, 0, 0], ["anna"] * 4)["WA"]
    assert (estimate.low, estimate.value, estimate.high) == (0.75, 0.75, 0.75)
