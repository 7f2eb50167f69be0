"""A linear projection of a teacher's segments, fitted on pairs: two clips of a text come closer, all others part."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .dataset import PhrasePairs, TrainingClip, choose_pair
from .losses import matryoshka_info_nce
from .sampler import LengthBucketBatchSampler

STEPS, BATCH_SECONDS, LEARNING_RATE = 600, 240, 1e-3
NOISE = 0.3  # standard deviation that is added to each feature, whose own is 1


def pairs_of_features(clips: list[TrainingClip], steps: int, seed: int) -> Iterator[torch.Tensor]:
    """`steps` batches (2 N, S, D) of the teacher's features; i and i + N are clips of one text.

    Raises:
        SystemExit: There are too few texts for a batch.
    """
    data, generator = PhrasePairs(clips), np.random.default_rng(seed)
    sampler, epoch = LengthBucketBatchSampler(data, BATCH_SECONDS, seed), 0
    if not len(sampler):
        raise SystemExit(f"{len(data)} texts have more than one clip; write more sets of clips, with 16 in a language.")
    while steps > 0:
        sampler.set_epoch(epoch)
        for batch in list(sampler)[:steps]:
            pairs = [choose_pair(data.texts[index], generator) for index in batch]
            features = np.stack([pair[side].teacher for side in (0, 1) for pair in pairs])
            yield torch.from_numpy(features.astype(np.float32))
            steps -= 1
        epoch += 1


def fit_projection(clips: list[TrainingClip], seed: int = 0, steps: int = STEPS) -> torch.Tensor:
    """Fits a matrix (D, D) by InfoNCE of the projected segments, in Matryoshka widths.

    Args:
        clips: With standardised features, and texts of more than one clip; other texts are of no use here.
        seed: Of the batches and the noise.
        steps: Batches.
    """
    counts = {}
    for clip in clips:
        key = clip.record.language, clip.record.text
        counts[key] = counts.get(key, 0) + 1
    clips = [clip for clip in clips if counts[clip.record.language, clip.record.text] > 1]
    torch.manual_seed(seed)
    width = clips[0].teacher.shape[-1]
    projection = nn.Linear(width, width, bias=False)
    nn.init.eye_(projection.weight)
    optimizer = torch.optim.AdamW(projection.parameters(), LEARNING_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for features in pairs_of_features(clips, steps, seed):
        loss = matryoshka_info_nce(projection(features + NOISE * torch.randn_like(features)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return projection.weight.detach()


def project(features: np.ndarray, matrix: torch.Tensor) -> np.ndarray:
    """Standardised features (N, S, D) to unit vectors (N, S, D) in float16."""
    blocks = np.array_split(features, max(1, len(features) // 4096))
    projected = [F.normalize(torch.from_numpy(block.astype(np.float32)) @ matrix.T, dim=-1) for block in blocks]
    return torch.cat(projected).half().numpy()
