"""The Conformer encoder (Gulati et al. 2020), in FastConformer's arrangement (Rekesh et al. 2023).

B batch, T log-mel frames, T' encoder frames, M mel bins, D d_model, N valid encoder frames of all clips together.

The layers run on padded clips (B, T', D) with a `frame_mask` (B, T'), which is true on the valid frames, or on packed
frames (1, N, D), which are all valid, with a `packing` that knows where each clip is. The numbers are the same.
"""

import torch
from torch import nn
from torch.nn import functional as F
from transformers.modeling_layers import GradientCheckpointingLayer

from .attention import QUERY_BLOCK, ConformerAttention
from .layers import DepthwiseConv, MaskedBatchNorm
from .masks import is_tracing
from .packing import Packing, pack_with_gaps
from .positions import compute_position_embeddings
from .subsampling import Subsampling

FFN_CHUNK_FRAMES = 2048  # frames that a feed-forward layer takes at a time without gradients, to save memory


class FeedForward(nn.Module):
    """Linear, SiLU, linear; each frame by itself."""

    def __init__(self, config):
        super().__init__()
        self.linear1 = nn.Linear(config.d_model, config.ff_expansion_factor * config.d_model, bias=config.use_bias)
        self.linear2 = nn.Linear(config.ff_expansion_factor * config.d_model, config.d_model, bias=config.use_bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden_states):
        if not (is_tracing() or torch.is_grad_enabled()) and hidden_states.shape[1] > 2 * FFN_CHUNK_FRAMES:
            # An hour has 45,000 frames, whose inner states would take 370 MB.
            return torch.cat([self._frames(chunk) for chunk in hidden_states.split(FFN_CHUNK_FRAMES, dim=1)], dim=1)
        return self._frames(hidden_states)

    def _frames(self, hidden_states):
        hidden_states = self.linear1(hidden_states)
        hidden_states = F.silu(hidden_states, inplace=not hidden_states.requires_grad)  # (B, T', ff_expansion_factor D)
        return self.linear2(self.dropout(hidden_states))


class ConvolutionModule(nn.Module):
    """Gated linear unit, depthwise convolution over time, norm, SiLU, linear (for the paper's 1 x 1 convolutions)."""

    def __init__(self, config):
        super().__init__()
        self.pointwise1 = nn.Linear(config.d_model, 2 * config.d_model, bias=config.use_bias)
        self.context = config.conv_context or [config.conv_kernel_size // 2] * 2  # frames before and after
        self.depthwise = DepthwiseConv(
            config.d_model, config.d_model, config.conv_kernel_size, groups=config.d_model, bias=config.use_bias
        )
        self.norm = MaskedBatchNorm(config.d_model) if config.conv_norm == "batch" else nn.LayerNorm(config.d_model)
        self.pointwise2 = nn.Linear(config.d_model, config.d_model, bias=config.use_bias)

    def forward(self, hidden_states, frame_mask=None, packing=None):
        before, after = self.context
        folded = self.norm(None) if isinstance(self.norm, MaskedBatchNorm) and not self.norm.training else None
        hidden_states = F.glu(self.pointwise1(hidden_states))
        # The depthwise convolution looks sideways in time: everything outside the clip must be zero.
        if packing is None:
            hidden_states = F.pad(hidden_states * frame_mask.unsqueeze(-1), (0, 0, before, after))
            hidden_states = self.depthwise(hidden_states, folded)
        else:
            row = self.depthwise(packing.scatter_with_gaps(hidden_states, before, after), folded)
            hidden_states = packing.gather(row, before, after)
        if isinstance(self.norm, nn.LayerNorm):
            hidden_states = self.norm(hidden_states)
        elif folded is None:
            hidden_states = self.norm(hidden_states, frame_mask)
        return self.pointwise2(F.silu(hidden_states, inplace=not hidden_states.requires_grad))


class ConformerLayer(GradientCheckpointingLayer):
    """Half-step feed-forward, self-attention, convolution, half-step feed-forward; each on a norm of the residual."""

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

    def forward(
        self, hidden_states: torch.Tensor, frame_mask=None, position_embeddings=None, packing=None, **kwargs
    ) -> torch.Tensor:
        """(B, T', D) or (1, N, D) to the same shape; masked frames hold finite values without a meaning."""
        x = hidden_states
        x = torch.add(x, self.dropout(self.feed_forward1(self.norm_feed_forward1(x))), alpha=0.5)
        attended, _ = self.self_attn(self.norm_self_attn(x), frame_mask, position_embeddings, packing, **kwargs)
        x = x + self.dropout(attended)
        x = x + self.dropout(self.conv(self.norm_conv(x), frame_mask, packing))
        x = torch.add(x, self.dropout(self.feed_forward2(self.norm_feed_forward2(x))), alpha=0.5)
        return self.norm_out(x)


class ConformerEncoder(nn.Module):
    """Subsampling, then `num_layers` Conformer layers.

    Set `packs_frames` to False to always run on padded clips. Compiling, exporting and returning hidden states or
    attentions run on padded clips in any case.
    """

    remote_code = ()  # instances whose source files are saved with the model: none

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.packs_frames = True
        self.subsampling = Subsampling(config)
        self.layers = nn.ModuleList(ConformerLayer(config) for _ in range(config.num_layers))

    def get_input_embeddings(self) -> nn.Module:
        return self.subsampling.linear

    @property
    def input_modules(self) -> list[nn.Module]:
        """The modules before the layers."""
        return [self.subsampling]

    def freeze_unused(self) -> None:
        """Every parameter is used: nothing to freeze."""

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
        recorded = any(
            kwargs.get(name) or getattr(self.config, name) for name in ("output_hidden_states", "output_attentions")
        )
        if self.packs_frames and not recorded and not is_tracing() and frame_mask.any():
            return self._packed(input_features, frame_mask, layer_weights, **kwargs)
        hidden_states, frame_mask = self.subsampling(input_features, frame_mask)
        hidden_states, weighted_sum = self._layers(hidden_states, layer_weights, frame_mask=frame_mask, **kwargs)
        hidden_states = hidden_states * frame_mask.unsqueeze(-1)
        if weighted_sum is not None:
            weighted_sum = weighted_sum * frame_mask.unsqueeze(-1)
        return hidden_states, hidden_states if weighted_sum is None else weighted_sum, frame_mask

    def _packed(self, input_features, frame_mask, layer_weights, **kwargs):
        """The same on valid frames only."""
        packing = Packing(self.subsampling.subsampled_mask(frame_mask))
        factor = self.config.subsampling_factor
        row, row_mask = pack_with_gaps(input_features, frame_mask, packing.clips, factor)  # (1, R, M), (1, R)
        hidden_states, row_mask = self.subsampling(row, row_mask)
        del row  # as large as the input
        hidden_states = hidden_states[row_mask].unsqueeze(0)  # (1, N, D)
        hidden_states, weighted_sum = self._layers(hidden_states, layer_weights, packing=packing, **kwargs)
        hidden_states = packing.pad(hidden_states)  # (B, T', D)
        return hidden_states, hidden_states if weighted_sum is None else packing.pad(weighted_sum), packing.frame_mask

    def _layers(self, hidden_states, layer_weights, frame_mask=None, packing=None, **kwargs):
        longest = hidden_states.shape[1] if packing is None else packing.longest
        query_block = None if packing is None else QUERY_BLOCK
        positions = compute_position_embeddings(self.config, longest, hidden_states, query_block)
        weighted_sum = None if layer_weights is None else layer_weights[0] * hidden_states
        for index, layer in enumerate(self.layers):
            hidden_states = layer(
                hidden_states, frame_mask=frame_mask, position_embeddings=positions, packing=packing, **kwargs
            )
            if layer_weights is not None:
                weighted_sum = weighted_sum + layer_weights[index + 1] * hidden_states
        return hidden_states, weighted_sum
