"""From log-mel frames to encoder frames: strided convolutions, or a linear layer alone that keeps the frame rate.

B batch, T log-mel frames, T' encoder frames, M mel bins, C channels, D d_model.
"""

import torch
from torch import nn
from torch.nn import functional as F

from .layers import ChannelsLastConv
from .masks import is_tracing

SUBSAMPLING_CHUNK_FRAMES = 256  # log-mel frames; their convolutions fit in a CPU's cache: 5 times as fast as 2400
GPU_CHUNK_FRAMES = 2**14  # whose convolutions take 1.3 GB in float32 with 256 channels and 80 mel bins


class Subsampling(nn.Module):
    """Keeps one frame in `subsampling_factor`, with log2 of that many stages of 3 x 3 convolutions of stride 2.

    Follows NeMo's `ConvSubsampling`. `striding` uses full convolutions; `dw_striding` uses a full one, then depthwise
    separable ones. A clip of n valid frames leaves ceil(n / 2) after each stage; with `causal_subsampling`, which pads
    two frames (and bins) before and one after, n // 2 + 1.
    """

    def __init__(self, config):
        super().__init__()
        channels = config.subsampling_channels
        num_bins = config.n_mels
        self.factor = config.subsampling_factor
        self.causal = config.causal_subsampling
        padding = 0 if self.causal else 1  # a causal convolution is padded beforehand, on the left only
        self.stages = nn.ModuleList()
        for stage in range(self.factor.bit_length() - 1):
            if stage == 0:
                convolutions = [ChannelsLastConv(1, channels, 3, stride=2, padding=padding)]
            elif config.subsampling == "striding":
                convolutions = [ChannelsLastConv(channels, channels, 3, stride=2, padding=padding)]
            else:
                depthwise = ChannelsLastConv(channels, channels, 3, stride=2, padding=padding, groups=channels)
                convolutions = [depthwise, ChannelsLastConv(channels, channels, 1)]
            self.stages.append(nn.Sequential(*convolutions))
            num_bins = num_bins // 2 + 1 if self.causal else (num_bins + 1) // 2
        self.gap = 2 if self.stages else 0  # frames after a clip, of its result, over which the convolutions look
        self.linear = nn.Linear(channels * num_bins if self.stages else num_bins, config.d_model)
        # No frame may be exactly 0 where the input is (silence, SpecAugment): there the slope of a LayerNorm is
        # 1 / sqrt(1e-5), and the gradient through a few layers overflows. `_init_weights` reads this.
        self.linear.initial_bias_std = 0.5
        self.dropout = nn.Dropout(config.dropout)
        self.scale = config.d_model**0.5 if config.scale_input else 1.0

    def forward(
        self, input_features: torch.Tensor, frame_mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Log-mel frames (B, T, M), zero where masked, and their mask (B, T) to (B, T', D) and (B, T').

        Several clips may also be in one row (see `Packed`). With None as the mask, all frames are valid.
        """
        if is_tracing():  # a loop over chunks would fix the length
            hidden_states = self.linear(self._convolve(input_features, frame_mask))
        elif torch.is_grad_enabled():  # one product: with several, the backward pass adds up gradients of the weight
            hidden_states = self.linear(self._in_chunks(input_features, frame_mask, lambda chunk: chunk))
        else:  # the convolutions' output is five times as large as the linear layer's
            hidden_states = self._in_chunks(input_features, frame_mask, self.linear)
        if self.scale != 1.0:
            hidden_states = hidden_states * self.scale
        for _ in self.stages if frame_mask is not None else ():
            frame_mask = self._halve(frame_mask)
        return self.dropout(hidden_states), frame_mask

    def subsampled_length(self, num_frames: int) -> int:
        """The encoder frames of a clip of this many log-mel frames (or of a batch padded to them)."""
        for _ in self.stages:
            num_frames = num_frames // 2 + 1 if self.causal else -(-num_frames // 2)
        return num_frames

    def _halve(self, frame_mask):
        if not self.causal:
            return frame_mask[:, ::2].contiguous()  # a view would bind an exported model to odd or to even lengths
        # Frame j sees 2 j - 2 to 2 j, and NeMo counts it if 2 j - 1 is valid; the first one of a clip is 2 j itself.
        return F.pad(frame_mask, (0, 1))[:, ::2] | F.pad(frame_mask, (1, 0))[:, ::2]  # (B, T // 2 + 1)

    def _in_chunks(self, input_features, frame_mask, then):
        """`_convolve`, and `then` what follows, on as many frames at a time as a cache (or a GPU's memory) holds."""
        size = SUBSAMPLING_CHUNK_FRAMES if input_features.device.type == "cpu" else GPU_CHUNK_FRAMES
        num_clips = max(1, size // max(1, input_features.shape[1]))
        clips = input_features.split(num_clips)
        masks = [None] * len(clips) if frame_mask is None else frame_mask.split(num_clips)
        parts = [
            torch.cat([then(chunk) for chunk in self._chunks_of(*each, size)], dim=1)
            for each in zip(clips, masks, strict=True)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _chunks_of(self, input_features, frame_mask, size):
        # A stage of plain convolutions looks one frame back, a causal one two. With a factor of 8, the first encoder
        # frame of a chunk therefore sees 8 (or 16) log-mel frames before the chunk; none after the chunk is seen.
        chunk = max(size, self.factor)
        before = (2 if self.causal else 1) * self.factor if self.stages else 0
        for start in range(0, input_features.shape[1], chunk):
            first, stop = max(0, start - before), start + chunk
            mask = None if frame_mask is None else frame_mask[:, first:stop]
            part = self._convolve(input_features[:, first:stop], mask)
            last = stop >= input_features.shape[1]  # a causal convolution makes one more frame at the very end
            yield part[:, (start - first) // self.factor : None if last else (stop - first) // self.factor]

    def _convolve(self, input_features, frame_mask):
        """All stages, with a ReLU after each: (B, T, M) to (B, T', C * M'). In channels-last order, the fastest."""
        if frame_mask is not None:
            input_features = input_features * frame_mask.unsqueeze(-1)
        if not self.stages:
            return input_features
        hidden_states = input_features.unsqueeze(-1).permute(0, 3, 1, 2)  # (B, 1, T, M), channels last in memory
        for index, stage in enumerate(self.stages):
            if frame_mask is not None and index > 0:  # the last convolution's bias has filled the padding
                hidden_states = hidden_states * frame_mask[:, None, :, None]
            if self.causal:
                hidden_states = F.pad(hidden_states, (2, 1, 2, 1))
            hidden_states = stage(hidden_states).relu_()  # (B, C, T / 2, M / 2)
            if frame_mask is not None:
                frame_mask = self._halve(frame_mask)
        return hidden_states.transpose(1, 2).flatten(2)
