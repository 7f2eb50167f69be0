"""Similarity, recall and its interval."""

import pytest
import torch
from torch.nn import functional as F

from recipes.phrases.metrics import bootstrap_ci, mean_segment_cosine, recall_at_k
from recipes.phrases.retrieval import measure_recall


def test_the_order_of_the_segments_counts():
    features = F.normalize(torch.randn(6, 4, 16), dim=-1)
    assert recall_at_k(mean_segment_cosine(features, features), 1).mean() == 1
    reversed_features = features.flip(1)
    assert mean_segment_cosine(features, reversed_features).diagonal().mean() < 0.5


def test_recall_counts_both_directions_and_its_interval_holds_it():
    scores = torch.tensor([[0.9, 0.0, 0.0], [0.0, 0.5, 0.6], [0.0, 0.1, 0.7]])
    assert recall_at_k(scores, 1).tolist() == [1.0, 0.5, 1.0]  # the second misses its partner in one direction
    assert recall_at_k(scores, 2).tolist() == [1.0, 1.0, 1.0]
    for collapsed in (torch.zeros(9, 9), torch.full((9, 9), float("nan"))):
        assert recall_at_k(collapsed, 5).sum() == 0
    result = measure_recall(scores)
    assert result.num_phrases == 3 and result.at_1.value == pytest.approx(250 / 3)
    assert result.at_1.low <= result.at_1.value <= result.at_1.high <= 100


def test_an_interval_is_reproducible_and_as_wide_as_the_binomial_says():
    hits = (torch.arange(400) < 300).float()
    interval = bootstrap_ci(hits)
    assert interval == bootstrap_ci(hits)
    half_width = 1.96 * 100 * (0.75 * 0.25 / 400) ** 0.5
    assert interval.value == 75
    assert [interval.low, interval.high] == pytest.approx([75 - half_width, 75 + half_width], abs=0.6)
    assert bootstrap_ci(torch.ones(5)).low == bootstrap_ci(torch.ones(5)).high == 100
