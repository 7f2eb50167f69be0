"""Zero-shot retrieval: given a phrase by one speaker, find the same phrase by the other."""

import numpy as np
import torch
from rich.progress import track
from torch.nn import functional as F

from .asterisk import SPEAKER_PAIRS, prompt_pairs
from .audio import SAMPLE_RATE, read_speech
from .dtw import cosine_distance, dtw_cost, mfcc
from .embedding import embed
from .metrics import bootstrap_ci, mean_segment_cosine, recall_at_k
from .results import Percent, Recall, RetrievalResult

DTW, MFCC_SEGMENTS, CHANCE = "dynamic time warping", "MFCC, 8 segments", "chance"
MIN_TEST_SECONDS, SHORT_SECONDS = 0.1, 3.0
MAX_SHORT_PHRASES = 200  # so that dynamic time warping is feasible


def load_pairs(language: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The phrases of a language by its first and its second speaker, in the same order."""
    pairs = [tuple(map(read_speech, paths)) for paths in prompt_pairs(language)]
    pairs = [pair for pair in pairs if min(map(len, pair)) >= MIN_TEST_SECONDS * SAMPLE_RATE]
    return [first for first, _ in pairs], [second for _, second in pairs]


def short_subset(first: list[np.ndarray], second: list[np.ndarray]) -> list[int]:
    """Indices of up to 200 random pairs under 3 s, the same ones for every method."""
    short = [i for i in range(len(first)) if max(len(first[i]), len(second[i])) < SHORT_SECONDS * SAMPLE_RATE]
    order = torch.randperm(len(short), generator=torch.Generator().manual_seed(0))[:MAX_SHORT_PHRASES]
    return [short[i] for i in order.tolist()]


def mfcc_segments(clip: np.ndarray) -> torch.Tensor:
    """Unit vectors (8, 39): the MFCCs' means over 8 segments."""
    return F.normalize(F.adaptive_avg_pool1d(mfcc(clip).T, 8).T, dim=-1)


def dtw_scores(first: list[np.ndarray], second: list[np.ndarray]) -> torch.Tensor:
    """Negative costs (N, M) of the best warping of N clips onto M."""
    queries, keys = [mfcc(clip) for clip in first], [mfcc(clip) for clip in second]
    queries = track(queries, "Dynamic time warping", transient=True)
    costs = [[dtw_cost(cosine_distance(query, key)) for key in keys] for query in queries]
    return -torch.tensor(costs, dtype=torch.float64)


def measure_recall(scores: torch.Tensor) -> Recall:
    """R@1 and R@5 over both directions of scores (N, N), whose diagonal holds the pairs."""
    return Recall(len(scores), *(bootstrap_ci(recall_at_k(scores, k)) for k in (1, 5)))


def evaluate_retrieval(models: dict, with_dtw: bool) -> list[RetrievalResult]:
    """Recall of models, by name, and of the baselines on the test pairs of each language."""
    results = []
    for language in SPEAKER_PAIRS:
        first, second = load_pairs(language)
        subset = short_subset(first, second)
        scores = {
            name: mean_segment_cosine(embed(model, first), embed(model, second)) for name, model in models.items()
        }
        scores[MFCC_SEGMENTS] = mean_segment_cosine(
            *(torch.stack([mfcc_segments(clip) for clip in clips]) for clips in (first, second))
        )
        for name, each in scores.items():
            recalls = measure_recall(each), measure_recall(each[subset][:, subset])
            results.append(RetrievalResult(language, name, *recalls))
        if with_dtw:
            short_scores = dtw_scores([first[i] for i in subset], [second[i] for i in subset])
            results.append(RetrievalResult(language, DTW, short=measure_recall(short_scores)))
        chance = Recall(len(first), Percent(100 / len(first)), Percent(500 / len(first)))
        results.append(RetrievalResult(language, CHANCE, all=chance))
    return results
