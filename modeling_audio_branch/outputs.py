"""The output of the model, and what follows from the segments.

B batch, S segments, N spans of a clip, T' encoder frames, D d_model, H heads.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F
from transformers.utils import ModelOutput

MIN_LENGTH = 1e-4  # of a segment; the gradient of one of zeros is the inverse, which float16 must hold


@dataclass
class AnyOutput(ModelOutput):
    """What `forward` says that it returns: an [`AudioBranchOutput`].

    If `forward` named a class with a `last_hidden_state`, sentence-transformers would average the frames of a
    checkpoint that has no modules.json. So it calls `get_audio_features`.
    """


@dataclass
class AudioBranchOutput(AnyOutput):
    """Output of [`AudioBranchModel`].

    With N spans of each clip, all that is about segments has an axis N behind B, and `segment_mask` is 0 where a clip
    has fewer spans.

    Args:
        last_hidden_state: (B, T', D) encoder frames, zero where masked.
        pooler_output: (B, feature_dim), the mean of the segments.
        segment_features: (B, S, feature_dim), zero for a clip without a valid frame.
        sequence_embedding: (B, S * feature_dim), the segments of length 1 one behind the other, over sqrt(S): the dot
            product of two is the mean cosine similarity of their segments in order.
        segment_mask: (B, S) int32, 0 only for a clip without a valid frame.
        segment_times: (B, S, 2) float32, start and end of each segment in seconds. The segments tile the clip, whose
            length is counted in whole log-mel frames (10 ms by default).
        attention_mask: (B, T') int32, the valid encoder frames.
        pooling_attentions: (B, H, S, T') weight of each frame in each segment, with `output_attentions`; None for
            `max`.
        hidden_states: With `output_hidden_states`, num_layers + 1 of (B, T', D).
        attentions: With `output_attentions`, num_layers of (B, H, T', T'), with a global frame one column more.
        errors: Of `encode(..., on_error="skip")`: by the index of each skipped clip, the sentence that says why.
        logits: Of the classifier's `encode`, (B, num_labels).
        probabilities: Of the classifier's `encode`, (B, num_labels); None for regression.
    """

    last_hidden_state: torch.Tensor | None = None
    pooler_output: torch.Tensor | None = None
    segment_features: torch.Tensor | None = None
    sequence_embedding: torch.Tensor | None = None
    segment_mask: torch.Tensor | None = None
    segment_times: torch.Tensor | None = None
    attention_mask: torch.Tensor | None = None
    pooling_attentions: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    errors: dict[int, str] | None = None
    logits: torch.Tensor | None = None
    probabilities: torch.Tensor | None = None


def sequence_embedding(segment_features: torch.Tensor) -> torch.Tensor:
    """Segments (..., S, feature_dim) to one vector (..., S * feature_dim); zero for segments of zeros."""
    directions = F.normalize(segment_features, dim=-1, eps=MIN_LENGTH)
    return directions.flatten(-2) * segment_features.shape[-2] ** -0.5


def times_of_segments(
    start: torch.Tensor, end: torch.Tensor, num_segments: int, borders: torch.Tensor | None = None
) -> torch.Tensor:
    """Start and end (..., S, 2) of the segments that tile spans from `start` to `end` (...), in seconds.

    The borders (..., S + 1) are parts of a span, from 0 to 1; None: of equal parts.
    """
    if borders is None:
        borders = torch.arange(num_segments + 1, device=end.device) / num_segments
    borders = start.unsqueeze(-1) + (end - start).unsqueeze(-1) * borders  # (..., S + 1)
    return torch.stack([borders[..., :-1], borders[..., 1:]], dim=-1)
