"""Segment features of clips at the recipe's rate."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from modeling_audio_branch import AudioBranchModel

from .audio import SAMPLE_RATE


@dataclass(frozen=True)
class CutToLimit:
    """A model whose encoder takes clips of up to `seconds`, such as Whisper's: the rest of longer ones is left out."""

    model: AudioBranchModel
    seconds: float

    def encode(self, clips: list[np.ndarray], sampling_rate: int, **options):
        longest = int(self.seconds * sampling_rate)
        return self.model.encode([clip[:longest] for clip in clips], sampling_rate=sampling_rate, **options)


def load_model(path: str | Path, **settings) -> AudioBranchModel | CutToLimit:
    """A checkpoint with an `encode` for clips of any length; `settings` replace those of its configuration."""
    model = AudioBranchModel.from_pretrained(path, **settings).eval()
    limit = model.front_end.max_samples
    return model if limit is None else CutToLimit(model, limit / model.config.sample_rate)


def embed(model, clips: list[np.ndarray], batch_size: int = 64) -> torch.Tensor:
    """Unit segment features (N, S, D) of clips at 8 kHz, which a model of another rate gets resampled.

    Args:
        model: An `AudioBranchModel`, or what has an `encode` like it.
        clips: Samples (L,) each.
        batch_size: Clips at a time.
    """
    out = model.encode(clips, sampling_rate=SAMPLE_RATE, batch_size=batch_size, show_progress=False)
    return F.normalize(out.segment_features.float(), dim=-1).cpu()
