"""Spans as an input of exported models: the rules of `spans.py` in operations on tensors, which exporters can record.

B clips, N spans of a clip, S segments, T encoder frames, D d_model.
"""

import torch

from ..masks import length_mask
from ..outputs import sequence_embedding, times_of_segments
from ..spans import AT_END, FLOAT32, ROUNDING, SLACK

SHORTEST_FRAME = 1e-6  # seconds; of clips without a frame


def frames_of_spans(spans: torch.Tensor, seconds: torch.Tensor, counts: torch.Tensor, frame_seconds: float | None):
    """The encoder frames that spans touch.

    Args:
        spans: Start and end in seconds, (B, N, 2).
        seconds: The duration of each clip, (B,).
        counts: The encoder frames of each clip, (B,).
        frame_seconds: The duration of an encoder frame; None: an equal part of its clip.

    Returns:
        The borders in seconds (B, N, 2), the first frame and the number of frames (B, N) each, and which spans are
        valid (B, N). A span outside its clip, reversed, empty or NaN is not: its borders are 0, and it has no frame.
    """
    seconds, counts = seconds.double().unsqueeze(-1), counts.unsqueeze(-1)  # (B, 1)
    start, given_end = spans.double().unbind(-1)  # (B, N)
    end = torch.minimum(given_end, seconds)
    valid = (start >= 0) & (start < end) & (given_end <= seconds + SLACK) & (counts > 0)
    start, end = start.where(valid, 0.0), end.where(valid, 0.0)
    length = seconds / counts.clamp(min=1) if frame_seconds is None else torch.full_like(seconds, frame_seconds)
    length = length.clamp(min=SHORTEST_FRAME)
    rounding = (ROUNDING + FLOAT32 * end) / length
    first = torch.minimum((start / length + rounding).floor().long(), counts - 1).clamp(min=0)
    stop = torch.maximum((end / length - rounding).ceil().long(), first + 1)
    stop = torch.minimum(counts.where(end > seconds - AT_END, stop), counts)
    sizes = (stop - first).where(valid, 0)
    return torch.stack([start, end], dim=-1).float(), first, sizes, valid


def pool_segments(model, hidden_states, frame_mask, seconds, spans):
    """In the place of the model's own `pool_segments`, with tensors alone: B clips have N spans each.

    Each span is pooled as if it were a clip of its frames, in the room of all frames, so memory grows with N * T. What
    a clip has fewer spans is filled with spans that are not valid, such as zeros: their features and times are zero.

    Args:
        model: An [`AudioBranchModel`].
        hidden_states: (B, T, D).
        frame_mask: (B, T).
        seconds: (B,).
        spans: (B, N, 2).
    """
    frame_seconds = model.front_end.seconds_per_frame * model.config.subsampling_factor
    frame_seconds = None if model.config.encoder_config else frame_seconds
    borders, first, sizes, valid = frames_of_spans(spans, seconds, frame_mask.sum(-1), frame_seconds)
    num_clips, num_frames, width = hidden_states.shape
    before = torch.arange(num_clips, device=first.device)[:, None] * num_frames  # frames of the clips before
    indices = (before + first)[..., None] + torch.arange(num_frames, device=first.device)  # (B, N, T)
    indices = indices.clamp(max=num_clips * num_frames - 1).flatten()
    inside = hidden_states.reshape(-1, width).index_select(0, indices).reshape(-1, num_frames, width)  # (B N, T, D)
    mask = length_mask(sizes.flatten(), num_frames)
    pooled, _, parts = model.pooling(inside.where(mask.unsqueeze(-1), 0.0), mask)  # (B N, S, D)
    parts = None if parts is None else parts.unflatten(0, first.shape)  # (B, N, S + 1)
    features = model.projection(pooled).unflatten(0, first.shape) * valid[..., None, None]  # (B, N, S, feature_dim)
    outputs = {
        "segment_features": features,
        "segment_mask": valid.unsqueeze(-1).expand(features.shape[:-1]).int(),
        "segment_times": times_of_segments(*borders.unbind(-1), model.config.num_segments, parts),
        "pooler_output": features.mean(-2),
    }
    return outputs | {"sequence_embedding": sequence_embedding(features)}, None
