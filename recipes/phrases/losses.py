"""Contrastive losses of segment features: in a batch alone, and against those of a teacher."""

import torch
from torch.nn import functional as F

from .metrics import mean_segment_cosine

TEMPERATURE = 0.05
DISTANCE_WEIGHT = 10.0  # of the distance to the teacher: it says more about a clip than which one its partner is
WIDTHS = (64, 128, 256, 512)  # first numbers of a segment that are trained to be used alone


def similarities(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The mean cosine of segments in order, (N, M), of features (N, S, D) and (M, S, D)."""
    return mean_segment_cosine(*(F.normalize(features, dim=-1) for features in (first, second)))


def widths(features: torch.Tensor) -> list[int]:
    """The numbers of a segment's components whose losses are averaged (Matryoshka; Kusupati et al. 2022)."""
    return [width for width in WIDTHS if width < features.shape[-1]] + [features.shape[-1]]


def info_nce(segment_features: torch.Tensor, temperature: float = TEMPERATURE) -> torch.Tensor:
    """InfoNCE (van den Oord et al. 2018, https://arxiv.org/abs/1807.03748) in both directions.

    Args:
        segment_features: (2 N, S, D). Clips i and i + N are a pair; all other clips of the batch are negatives.
        temperature: Divides the similarity.

    Returns:
        The loss, a scalar.
    """
    logits = similarities(*segment_features.chunk(2)) / temperature  # (N, N)
    targets = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2


def matryoshka_info_nce(segment_features: torch.Tensor) -> torch.Tensor:
    """The mean InfoNCE of the first 64, 128, ... components of each segment."""
    return torch.stack([info_nce(segment_features[..., :width]) for width in widths(segment_features)]).mean()


def teacher_loss(segment_features: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """How far clips are from the teacher's embeddings of themselves and of their partners.

    The weighted sum of the mean cosine distance of a clip's segments to the teacher's, and of a contrastive loss in
    Matryoshka widths, in which each clip has to find its partner among the teacher's embeddings of all other clips.

    Args:
        segment_features: (2 N, S, D). Clips i and i + N are a pair.
        teacher: (2 N, S, D), its embeddings of the same clips before they were augmented.
    """
    distance = 1 - F.cosine_similarity(segment_features, teacher, dim=-1).mean()
    clips = torch.arange(len(segment_features), device=segment_features.device)
    partners, losses = clips.roll(len(clips) // 2), []
    for width in widths(segment_features):
        logits = similarities(segment_features[..., :width], teacher[..., :width]) / TEMPERATURE
        losses.append(F.cross_entropy(logits.masked_fill(clips[:, None] == clips, -torch.inf), partners))
    return DISTANCE_WEIGHT * distance + torch.stack(losses).mean()
