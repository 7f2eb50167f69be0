"""Segment features of clips at the recipe's rate."""

import numpy as np
import torch
from torch.nn import functional as F

from .audio import SAMPLE_RATE


def embed(model, clips: list[np.ndarray], batch_size: int = 64) -> torch.Tensor:
    """Unit segment features (N, S, D) of clips at 8 kHz, which a model of another rate gets resampled.

    Args:
        model: An `AudioBranchModel`, or what has an `encode` like it.
        clips: Samples (L,) each.
        batch_size: Clips at a time.
    """
    out = model.encode(clips, sampling_rate=SAMPLE_RATE, batch_size=batch_size, show_progress=False)
    return F.normalize(out.segment_features.float(), dim=-1).cpu()
