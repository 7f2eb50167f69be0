"""From the frames of a clip to a few segment vectors.

B batch, T frames, S segments, H heads, D d_model. `segmentation.py` says which frames belong to a segment.
"""

import torch
from torch import nn
from transformers import initialization as init

from .segmentation import LearnedSegmentation, at_least_float32, segment_bounds

PROFILE_POINTS = 16  # points of a learnable profile over the relative position inside a segment
EMBEDDING_STD = 0.02  # of the initial queries and temporal encodings


class SegmentPooling(nn.Module):
    """Pools the frames of every segment with one of four rules, and adds the temporal encoding.

    `avg` and `max` equal `torch.nn.functional.adaptive_avg_pool1d` and `adaptive_max_pool1d` of the clip alone.
    `attention` is multi-head attention from a learned query per segment over that segment's frames. `learnable` weighs
    a frame by its relative position in the segment: the softmax of a learned profile, which starts flat (as `avg`).

    With learned segmentation (`avg` and `attention` alone), a frame counts in a segment by its mass there.
    """

    def __init__(self, config):
        super().__init__()
        self.pooling_type = config.pooling_type
        self.num_segments = config.num_segments
        self.num_heads = config.num_heads if self.pooling_type == "attention" else 1
        if self.pooling_type == "attention":
            self.query = nn.Parameter(torch.empty(config.num_segments, config.d_model))
            self.q_proj = nn.Linear(config.d_model, config.d_model)
            self.k_proj = nn.Linear(config.d_model, config.d_model)
            self.v_proj = nn.Linear(config.d_model, config.d_model)
            self.o_proj = nn.Linear(config.d_model, config.d_model)
        elif self.pooling_type == "learnable":
            self.profile = nn.Parameter(torch.empty(config.num_segments, PROFILE_POINTS))
        learned = config.segmentation == "learned"
        self.segmentation = LearnedSegmentation(config.d_model, config.num_segments) if learned else None
        if config.use_temporal_encoding:
            self.temporal_encoding = nn.Parameter(torch.empty(config.num_segments, config.d_model))
        else:
            self.temporal_encoding = None

    def init_parameters(self):
        if self.pooling_type == "attention":
            init.normal_(self.query, std=EMBEDDING_STD)
        elif self.pooling_type == "learnable":
            init.zeros_(self.profile)
        if self.temporal_encoding is not None:
            init.normal_(self.temporal_encoding, std=EMBEDDING_STD)

    def forward(self, hidden_states: torch.Tensor, frame_mask: torch.Tensor):
        """
        Args:
            hidden_states: (B, T, D), zero where masked.
            frame_mask: (B, T), true on valid frames.

        Returns:
            Segments (B, S, D); the weights of the frames (B, H, S, T), None for `max`; and the borders of the segments
            (B, S + 1), as [`LearnedSegmentation`] gives them, None for equal times. A clip without a valid frame gives
            finite segments without a meaning, and zero weights.
        """
        weights = borders = None
        if self.segmentation is not None:
            mass, borders = self.segmentation(hidden_states, frame_mask)  # (B, S, T), (B, S + 1)
            weights = self._weights_by_mass(hidden_states, mass.unsqueeze(1))
        else:
            start, end = segment_bounds(frame_mask.sum(-1), self.num_segments)  # (B, S)
            if self.pooling_type != "max":
                weights = self._weights(hidden_states, start, end)
        if weights is None:
            segments = self._max(hidden_states, start, end)
        else:
            weights = weights.to(hidden_states.dtype)  # (B, H, S, T)
            segments = self._weighted_sum(weights, hidden_states)  # (B, S, D)
        if self.temporal_encoding is not None:
            segments = segments + self.temporal_encoding
        return segments, weights, borders

    def _max(self, hidden_states, start, end):
        # Gathers T + 2 S frames and fills each segment up with its own last frame: cheaper than masking S copies of
        # the clip.
        longest = hidden_states.shape[1] // self.num_segments + 2
        offsets = torch.arange(longest, device=start.device)
        frames = torch.minimum(start.unsqueeze(-1) + offsets, end.unsqueeze(-1) - 1).clamp(min=0)  # (B, S, longest)
        index = frames.flatten(1).unsqueeze(-1).expand(-1, -1, hidden_states.shape[-1])
        return hidden_states.gather(1, index).unflatten(1, frames.shape[1:]).amax(2)

    def _weights(self, hidden_states, start, end):
        """Weights (B, H, S, T) that sum to 1 over each segment's own frames, at least float32."""
        frames = torch.arange(hidden_states.shape[1], device=hidden_states.device)
        in_segment = (frames >= start.unsqueeze(-1)) & (frames < end.unsqueeze(-1))  # (B, S, T)
        in_segment = in_segment.unsqueeze(1)  # (B, 1, S, T)
        if self.pooling_type == "avg":
            return in_segment.float() / (end - start).clamp(min=1)[:, None, :, None]
        if self.pooling_type == "attention":
            scores = self._attention_scores(hidden_states)
        else:
            scores = self._profile_scores(in_segment.shape[-1], start, end).unsqueeze(1)
        scores = scores.masked_fill(~in_segment, torch.finfo(scores.dtype).min)
        return scores.softmax(-1) * in_segment  # the product clears clips without a frame, whose scores are all equal

    def _weights_by_mass(self, hidden_states, mass):
        """Weights (B, H, S, T) that sum to 1 over the frames that have mass in a segment, at least float32."""
        weights = mass
        if self.pooling_type == "attention":
            scores = self._attention_scores(hidden_states)
            weights = scores.masked_fill(mass <= 0, torch.finfo(scores.dtype).min).softmax(-1) * mass
        total = weights.sum(-1, keepdim=True)  # 0 for a clip without a frame
        return weights / total.where(total > 0, 1.0)

    def _attention_scores(self, hidden_states):
        """Products of queries and keys, (B, H, S, T), at least float32."""
        query = self.q_proj(self.query).unflatten(-1, (self.num_heads, -1)).transpose(0, 1)  # (H, S, d)
        key = self.k_proj(hidden_states).unflatten(-1, (self.num_heads, -1)).permute(0, 2, 3, 1)  # (B, H, d, T)
        return at_least_float32(query @ key) * query.shape[-1] ** -0.5

    def _profile_scores(self, num_frames, start, end):
        """The profile at each frame's relative position, interpolated between its points, (B, S, T)."""
        frames = torch.arange(num_frames, device=start.device)
        length = (end - start).clamp(min=1).unsqueeze(-1)  # (B, S, 1)
        position = (frames - start.unsqueeze(-1) + 0.5) / length  # 0 to 1 in the segment
        position = position.clamp(0, 1) * (PROFILE_POINTS - 1)
        left = position.long().clamp(max=PROFILE_POINTS - 2)
        profile = self.profile.float().expand(start.shape[0], -1, -1)  # (B, S, points)
        return profile.gather(-1, left).lerp(profile.gather(-1, left + 1), position - left)

    def _weighted_sum(self, weights, hidden_states):
        if self.pooling_type != "attention":
            return weights.squeeze(1) @ hidden_states
        value = self.v_proj(hidden_states).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, H, T, d)
        return self.o_proj((weights @ value).transpose(1, 2).flatten(2))
