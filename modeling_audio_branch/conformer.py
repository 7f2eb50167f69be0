"""The Conformer encoder (Gulati et al. 2020), in FastConformer's arrangement (Rekesh et al. 2023).

B batch, T log-mel frames, T' encoder frames, M mel bins, D d_model. `frame_mask` is true on valid frames, a prefix of
each clip.
"""

import torch
from torch import nn
from torch.nn import functional as F
from transformers.modeling_layers import GradientCheckpointingLayer

from .attention import ConformerAttention
from .masked_batch_norm import MaskedBatchNorm
from .subsampling import Subsampling


class FeedForward(nn.Module):
    """Linear, SiLU, linear; on each frame by itself."""

    def __init__(self, config):
        super().__init__()
        self.linear1 = nn.Linear(config.d_model, config.ff_expansion_factor * config.d_model, bias=config.use_bias)
        self.linear2 = nn.Linear(config.ff_expansion_factor * config.d_model, config.d_model, bias=config.use_bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden_states):
        return self.linear2(self.dropout(F.silu(self.linear1(hidden_states))))


class ConvolutionModule(nn.Module):
    """Gated linear unit, depthwise convolution over time, norm, SiLU, linear (for the paper's 1 x 1 convolutions)."""

    def __init__(self, config):
        super().__init__()
        self.pointwise1 = nn.Linear(config.d_model, 2 * config.d_model, bias=config.use_bias)
        self.context = config.conv_context or [config.conv_kernel_size // 2] * 2  # frames before and after
        self.depthwise = nn.Conv1d(
            config.d_model, config.d_model, config.conv_kernel_size, groups=config.d_model, bias=config.use_bias
        )
        self.norm = MaskedBatchNorm(config.d_model) if config.conv_norm == "batch" else nn.LayerNorm(config.d_model)
        self.pointwise2 = nn.Linear(config.d_model, config.d_model, bias=config.use_bias)

    def forward(self, hidden_states, frame_mask):
        hidden_states = F.glu(self.pointwise1(hidden_states))
        hidden_states = hidden_states * frame_mask.unsqueeze(-1)  # the depthwise convolution looks sideways
        hidden_states = self.depthwise(F.pad(hidden_states.transpose(1, 2), self.context)).transpose(1, 2)
        if isinstance(self.norm, MaskedBatchNorm):
            hidden_states = self.norm(hidden_states, frame_mask)
        else:
            hidden_states = self.norm(hidden_states)
        return self.pointwise2(F.silu(hidden_states))


class ConformerLayer(GradientCheckpointingLayer):
    """Half a feed-forward, self-attention, convolution, half a feed-forward; each on a norm of the residual stream."""

    def __init__(self, config):
        super().__init__()
        self.norm_feed_forward1 = nn.LayerNorm(config.d_model)
        self.feed_forward1 = FeedForward(config)
        self.norm_self_attn = nn.LayerNorm(config.d_model)
        self.self_attn = ConformerAttention(config)
        self.norm_conv = nn.LayerNorm(config.d_model)
        self.conv = ConvolutionModule(config)
        self.norm_feed_forward2 = nn.LayerNorm(config.d_model)
        self.feed_forward2 = FeedForward(config)
        self.norm_out = nn.LayerNorm(config.d_model)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden_states: torch.Tensor, frame_mask: torch.Tensor, **kwargs) -> torch.Tensor:
        """(B, T', D) and (B, T') to (B, T', D); frames outside the mask hold finite values that mean nothing."""
        x = hidden_states
        x = x + 0.5 * self.dropout(self.feed_forward1(self.norm_feed_forward1(x)))
        x = x + self.dropout(self.self_attn(self.norm_self_attn(x), frame_mask, **kwargs)[0])
        x = x + self.dropout(self.conv(self.norm_conv(x), frame_mask))
        x = x + 0.5 * self.dropout(self.feed_forward2(self.norm_feed_forward2(x)))
        return self.norm_out(x)


class ConformerEncoder(nn.Module):
    """Subsampling, then `num_layers` Conformer layers."""

    def __init__(self, config):
        super().__init__()
        self.subsampling = Subsampling(config)
        self.layers = nn.ModuleList(ConformerLayer(config) for _ in range(config.num_layers))

    @property
    def front_end(self) -> list[nn.Module]:
        return [self.subsampling]

    def forward(
        self,
        input_features: torch.Tensor,
        frame_mask: torch.Tensor,
        layer_weights: torch.Tensor | None = None,
        **kwargs,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """
        Args:
            input_features: (B, T, M) log-mel frames, zero where masked.
            frame_mask: (B, T).
            layer_weights: (num_layers + 1,) weights for a sum of the input and the output of every layer.

        Returns:
            The last layer's output (B, T', D), zero where masked; the weighted sum, or the same again without weights;
            and the mask (B, T').
        """
        hidden_states, frame_mask = self.subsampling(input_features, frame_mask)
        weighted_sum = 0.0 if layer_weights is None else layer_weights[0] * hidden_states
        for index, layer in enumerate(self.layers):
            hidden_states = layer(hidden_states, frame_mask, **kwargs)
            if layer_weights is not None:
                weighted_sum = weighted_sum + layer_weights[index + 1] * hidden_states
        valid = frame_mask.unsqueeze(-1)
        hidden_states = hidden_states * valid
        return hidden_states, hidden_states if layer_weights is None else weighted_sum * valid, frame_mask
