"""From log-mel frames to encoder frames: strided convolutions, or a linear layer where the frame rate is kept.

B batch, T log-mel frames, T' encoder frames, M mel bins, C channels, D d_model.
"""

import torch
from torch import nn
from torch.nn import functional as F


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
        self.causal = config.causal_subsampling
        self.padding = (2, 1, 2, 1) if self.causal else (1, 1, 1, 1)
        self.stages = nn.ModuleList()
        for stage in range(config.subsampling_factor.bit_length() - 1):
            if stage == 0:
                convolutions = [nn.Conv2d(1, channels, 3, stride=2)]
            elif config.subsampling == "striding":
                convolutions = [nn.Conv2d(channels, channels, 3, stride=2)]
            else:
                depthwise = nn.Conv2d(channels, channels, 3, stride=2, groups=channels)
                convolutions = [depthwise, nn.Conv2d(channels, channels, 1)]
            self.stages.append(nn.Sequential(*convolutions, nn.ReLU()))
            num_bins = num_bins // 2 + 1 if self.causal else (num_bins + 1) // 2
        self.linear = nn.Linear(channels * num_bins if self.stages else num_bins, config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.scale = config.d_model**0.5 if config.scale_input else 1.0

    def forward(self, input_features: torch.Tensor, frame_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-mel frames (B, T, M), zero where masked, and their mask (B, T) to (B, T', D) and (B, T')."""
        hidden_states = input_features
        if self.stages:
            hidden_states = hidden_states.unsqueeze(1)  # (B, 1, T, M)
            for stage in self.stages:
                # A convolution's bias fills the padding: blank it before the next one looks at it.
                hidden_states = hidden_states * frame_mask[:, None, :, None]
                hidden_states = stage(F.pad(hidden_states, self.padding))  # (B, C, T / 2, M / 2)
                frame_mask = self._halve(frame_mask, hidden_states.shape[2])
            hidden_states = hidden_states.transpose(1, 2).flatten(2)  # (B, T', C * M')
        return self.dropout(self.linear(hidden_states) * self.scale), frame_mask

    def _halve(self, frame_mask, num_frames):
        if not self.causal:
            return frame_mask[:, ::2]
        lengths = frame_mask.sum(-1, keepdim=True)
        lengths = (lengths // 2 + 1) * (lengths > 0)  # nothing stays nothing
        return torch.arange(num_frames, device=lengths.device) < lengths
