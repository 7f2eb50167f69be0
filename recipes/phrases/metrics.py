"""Similarity of clips, recall, and its confidence interval."""

import itertools

import numpy as np
import torch
from scipy.stats import bootstrap

from .results import Percent


def mean_segment_cosine(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Mean cosine of the segments, compared in order: unit vectors (N, S, D) and (M, S, D) to (N, M)."""
    return first.flatten(1) @ second.flatten(1).T / first.shape[1]


def recall_at_k(scores: torch.Tensor, k: int) -> torch.Tensor:
    """How often (0, 0.5 or 1) the clips of each pair are among each other's k nearest: (N,) from scores (N, N).

    Row i and column i are a pair. A tie is a miss, and so is NaN: a model that has collapsed finds nothing.
    """
    num_farther = [(each < each.diagonal()[:, None]).sum(1) for each in (scores, scores.T)]
    return sum((count >= len(scores) - k).float() for count in num_farther) / 2


def hits_of_speakers(speakers: list[torch.Tensor]) -> list[float]:
    """`recall_at_k` with k = 1 of all pairs of speakers (N, S, D), whose clips are in the same order."""
    scores = [mean_segment_cosine(*pair) for pair in itertools.combinations(speakers, 2)]
    return [hit for each in scores for hit in recall_at_k(each, 1).tolist()]


def bootstrap_ci(hits: torch.Tensor, seed: int = 0) -> Percent:
    """The mean of (N,) values from 0 to 1 in percent, with its 95 % percentile bootstrap interval; N is at least 2."""
    values = 100 * hits.double().numpy()
    result = bootstrap((values,), np.mean, n_resamples=1000, method="percentile", rng=np.random.default_rng(seed))
    return Percent(values.mean().item(), *map(float, result.confidence_interval))
