"""A projection of a teacher's segments, fitted on pairs: two clips of a text come closer, all others part.

It has the form of `AudioBranchModel.projection` (layer norm, linear layer, GELU), so that a student can give the same
features.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .dataset import PhrasePairs, TrainingClip, choose_pair
from .losses import matryoshka_info_nce
from .sampler import LengthBucketBatchSampler

STEPS, BATCH_SECONDS, LEARNING_RATE = 800, 240, 1e-3
NOISE = 0.3  # of the deviation of a component, added to it
SAMPLE_CLIPS = 20_000  # of which mean and deviation are taken


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


def new_projection(width: int) -> nn.Sequential:
    """A projection of `width` components to as many."""
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())


@torch.no_grad()
def standardising_projection(features: torch.Tensor) -> nn.Sequential:
    """A projection whose linear layer starts as the standardisation of features (N, D) after the layer norm."""
    projection = new_projection(features.shape[-1])
    normed = projection[0](features)
    scale = 1 / normed.std(0).clamp(min=1e-6)
    projection[1].weight.copy_(scale.diag())
    projection[1].bias.copy_(-normed.mean(0) * scale)
    return projection


def fit_projection(clips: list[TrainingClip], seed: int = 0, steps: int = STEPS) -> nn.Sequential:
    """Fits a projection by InfoNCE of its segments, in Matryoshka widths.

    Args:
        clips: With the teacher's features. Texts of one clip are of no use here.
        seed: Of the batches and the noise.
        steps: Batches.
    """
    texts = [text for text in PhrasePairs(clips).texts if len(text) > 1]
    clips = [clip for text in texts for clip in text]
    torch.manual_seed(seed)
    sample = np.concatenate([clip.teacher for clip in clips[:: max(1, len(clips) // SAMPLE_CLIPS)]])
    sample = torch.from_numpy(sample.astype(np.float32))
    projection, noise = standardising_projection(sample), NOISE * sample.std(0)
    optimizer = torch.optim.AdamW(projection.parameters(), LEARNING_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for features in pairs_of_features(clips, steps, seed):
        loss = matryoshka_info_nce(projection(features + noise * torch.randn_like(features)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return projection


@torch.no_grad()
def project(features: np.ndarray, projection: nn.Sequential) -> np.ndarray:
    """Features (N, S, D) to unit vectors (N, S, D) in float16."""
    blocks = np.array_split(features, max(1, len(features) // 4096))
    projected = [F.normalize(projection(torch.from_numpy(block.astype(np.float32))), dim=-1) for block in blocks]
    return torch.cat(projected).half().numpy()
