"""Batches of texts that only their words tell apart."""

from collections.abc import Iterator

import numpy as np
import torch

from .audio import SAMPLE_RATE
from .dataset import PhrasePairs

MIN_TEXTS, MAX_TEXTS = 16, 384  # in a batch


class LengthBucketBatchSampler(torch.utils.data.Sampler):
    """Batches of one language and of similar lengths, so that neither identifies the other clip of a pair.

    Each batch holds about `seconds` of speech on either side of its pairs. Short clips are harder to tell apart, and
    so meet more negatives. Fewer than 16 texts that are left over are skipped in that epoch.
    """

    def __init__(self, dataset: PhrasePairs, seconds: float, seed: int):
        self.seed, self.epoch = seed, 0
        languages = {}
        for index, clips in enumerate(dataset.texts):
            record = clips[0].record
            languages.setdefault(record.language, []).append((record.length / SAMPLE_RATE, index))
        self.languages = [sorted(texts) for _, texts in sorted(languages.items())]  # (seconds, index) of each text
        self.boundaries = [batch_boundaries([length for length, _ in texts], seconds) for texts in self.languages]

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng((self.seed, self.epoch))
        batches = []
        for texts, boundaries in zip(self.languages, self.boundaries, strict=True):
            lengths, indices = map(np.array, zip(*texts, strict=True))
            order = np.argsort(lengths * np.exp(0.1 * generator.standard_normal(len(texts))))
            batches += [part.tolist() for part in np.split(indices[order], boundaries)[:-1]]
        return iter([batches[index] for index in generator.permutation(len(batches))])

    def __len__(self) -> int:
        return sum(map(len, self.boundaries))


def batch_boundaries(lengths: list[float], seconds: float) -> list[int]:
    """The end (exclusive) of each batch over sorted lengths: more than `seconds` in all, or MAX_TEXTS texts.

    The last batch may have less, but at least MIN_TEXTS texts.
    """
    boundaries, total, start = [], 0.0, 0
    for end, length in enumerate(lengths, 1):
        total += length
        if total > seconds or end - start == MAX_TEXTS:
            boundaries.append(end)
            total, start = 0.0, end
    return boundaries + [len(lengths)] * (len(lengths) - start >= MIN_TEXTS)
