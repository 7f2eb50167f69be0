"""Segment features of clips."""

import numpy as np
import torch
from torch.nn import functional as F


def embed(model, clips: list[np.ndarray], batch_size: int = 64) -> torch.Tensor:
    """Unit segment features (N, S, D) of clips at the model's sampling rate."""
    out = model.encode(clips, sampling_rate=model.config.sample_rate, batch_size=batch_size, show_progress=False)
    return F.normalize(out.segment_features.float(), dim=-1).cpu()
