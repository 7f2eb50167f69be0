"""The visual side: frames of a video to one vector for each segment of the audio, with any encoder of Transformers.

B clips, F frames, S segments, K sampled frames of a segment, C channels, H x W pixels, D hidden size of the encoder.
"""

from types import SimpleNamespace

import torch
from torch import nn
from transformers import AutoModel

from modeling_audio_branch.pooling import SegmentPooling

from .segment_frames import frames_of_segments, sampled_frames, times_of_frames

FRAMES_AT_ONCE = 8  # frames that the encoder sees in one call without gradients, to save memory


class VisualBranch(nn.Module):
    """Samples frames of each segment, encodes them, and pools them to (B, S, D)."""

    def __init__(self, config):
        super().__init__()
        self.sees_videos, self.frames_per_segment = config.sees_videos, config.frames_per_segment
        self.encoder = AutoModel.from_config(config.video_config)
        pooling = SimpleNamespace(
            pooling_type=config.video_pooling,
            num_segments=config.num_segments,
            num_heads=1,
            segmentation="uniform",
            d_model=config.video_config.hidden_size,
            use_temporal_encoding=False,
        )
        self.pooling = SegmentPooling(pooling)

    def freeze_unused(self):
        """Parameters that no output depends on need no gradient, which data-parallel training would wait for."""
        for name in ("pooler", "head"):
            if isinstance(unused := getattr(self.encoder, name, None), nn.Module):
                unused.requires_grad_(False)

    def forward(self, pixel_values, frame_times, frame_mask, segment_times):
        """
        Args:
            pixel_values: (B, F, C, H, W).
            frame_times: (B, F, 2) seconds, start and end of each frame.
            frame_mask: (B, F), true on valid frames, which come first.
            segment_times: (B, S, 2) seconds.

        Returns:
            Segments (B, S, D), zero for a clip without a frame, and start and end of their frames (B, S, 2) seconds.
        """
        first, stop = frames_of_segments(frame_times, frame_mask, segment_times)  # (B, S)
        is_present = frame_mask[:, 0]
        indices = sampled_frames(first, stop, self.frames_per_segment)  # (B, S, K)
        clips = torch.arange(len(indices), device=indices.device)[:, None, None]
        frames = pixel_values[clips, indices]  # (B, S, K, C, H, W)
        frames = torch.where(is_present.view(-1, 1, 1, 1, 1, 1), frames, 0.0)  # padding may be NaN
        features = self._encode(frames)  # (B, S * K or S, D)
        valid = is_present.unsqueeze(-1).expand(features.shape[:2])
        segments, _, _ = self.pooling(features, valid)  # (B, S, D): it cuts equal parts, which are the segments
        segments = torch.where(is_present.view(-1, 1, 1), segments, 0.0)
        return segments, times_of_frames(frame_times, first, stop) * is_present.view(-1, 1, 1)

    def _encode(self, frames):
        """Sampled frames (B, S, K, C, H, W) to (B, S * K, D), or (B, S, D) with a video encoder."""
        inputs = frames.flatten(0, 1) if self.sees_videos else frames.flatten(0, 2)
        size = len(inputs)
        if not torch.is_grad_enabled():
            size = max(1, FRAMES_AT_ONCE // (self.frames_per_segment if self.sees_videos else 1))
        encoded = [self.encoder(part).last_hidden_state.mean(1) for part in inputs.split(size)]  # over tokens: (N, D)
        return torch.cat(encoded).unflatten(0, (len(frames), -1))
