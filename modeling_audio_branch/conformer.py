"""The Conformer encoder (Gulati et al. 2020), in FastConformer's arrangement (Rekesh et al. 2023).

B batch, T log-mel frames, T' encoder frames, M mel bins, D d_model, R encoder frames of all clips in one row.

The layers run on packed clips, a batch (B, T', D) of equal ones or a row (1, R, D) of all, or on padded clips (B, T',
D). A `layout` says where each clip is, and which frames are valid. The numbers are the same.
"""

import torch
from torch import nn
from torch.nn import functional as F
from transformers.modeling_layers import GradientCheckpointingLayer

from .attention import ConformerAttention
from .attention_blocks import plan_blocks, reach
from .layers import DepthwiseConv, MaskedBatchNorm
from .masks import is_tracing
from .packing import Packed, Padded
from .positions import compute_position_embeddings
from .subsampling import Subsampling

FFN_CHUNK_FRAMES = 2048  # frames that a feed-forward layer takes at a time without gradients, to save memory
GPU_FFN_CHUNK_FRAMES = 2**15
GPU_GROUP_WORTH = 256  # frames of padding in a group of clips that a GPU computes as quickly as it starts another group


class FeedForward(nn.Module):
    """Linear, SiLU, linear; each frame by itself."""

    def __init__(self, config):
        super().__init__()
        self.linear1 = nn.Linear(config.d_model, config.ff_expansion_factor * config.d_model, bias=config.use_bias)
        self.linear2 = nn.Linear(config.ff_expansion_factor * config.d_model, config.d_model, bias=config.use_bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden_states):
        size = FFN_CHUNK_FRAMES if hidden_states.device.type == "cpu" else GPU_FFN_CHUNK_FRAMES
        if not (is_tracing() or torch.is_grad_enabled()) and hidden_states.shape[1] > 2 * size:
            # An hour has 45,000 frames, whose inner states would take 370 MB.
            return torch.cat([self._frames(chunk) for chunk in hidden_states.split(size, dim=1)], dim=1)
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

    def forward(self, hidden_states, layout):
        hidden_states = layout.open_gaps(F.glu(self.pointwise1(hidden_states)))  # nothing of other clips is seen
        hidden_states = layout.close_gaps(self.depthwise(hidden_states, *self.context))
        if isinstance(self.norm, MaskedBatchNorm):
            hidden_states = self.norm(hidden_states, layout.frame_mask)
        else:
            hidden_states = self.norm(hidden_states)
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

    def forward(self, hidden_states: torch.Tensor, layout, blocks, position_embeddings=None, **kwargs) -> torch.Tensor:
        """(B, T', D) or (1, R, D) to the same shape; masked frames hold finite values without a meaning."""
        x = hidden_states
        x = torch.add(x, self.dropout(self.feed_forward1(self.norm_feed_forward1(x))), alpha=0.5)
        attended, _ = self.self_attn(self.norm_self_attn(x), layout, blocks, position_embeddings, **kwargs)
        x = x + self.dropout(attended)
        x = x + self.dropout(self.conv(self.norm_conv(x), layout))
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
        self.group_worth = None  # see `Packed`; None chooses by the device
        self._conv_gap = max(config.conv_context or [config.conv_kernel_size // 2])
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
        lengths: list[int] | None = None,
        **kwargs,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """
        Args:
            input_features: (B, T, M) log-mel frames, zero where masked.
            frame_mask: (B, T).
            layer_weights: (num_layers + 1,) weights for a sum of the input and the output of every layer.
            lengths: The valid frames of each clip, where they are known; else the device is asked for them once.

        Returns:
            The last layer's output (B, T', D), zero where masked; the weighted sum, or the same again without weights;
            and the mask (B, T').
        """
        recorded = any(
            kwargs.get(name) or getattr(self.config, name) for name in ("output_hidden_states", "output_attentions")
        )
        if self.packs_frames and not recorded and not is_tracing():
            lengths = frame_mask.sum(-1).tolist() if lengths is None else lengths
            if any(lengths):
                return self._packed(input_features, frame_mask, lengths, layer_weights, **kwargs)
        hidden_states, frame_mask = self.subsampling(input_features, frame_mask)
        hidden_states, weighted_sum = self._layers(hidden_states, Padded(frame_mask), layer_weights, **kwargs)
        hidden_states = hidden_states * frame_mask.unsqueeze(-1)
        if weighted_sum is not None:
            weighted_sum = weighted_sum * frame_mask.unsqueeze(-1)
        return hidden_states, hidden_states if weighted_sum is None else weighted_sum, frame_mask

    def _packed(self, input_features, frame_mask, lengths, layer_weights, **kwargs):
        """The same without padding."""
        count, device = self.subsampling.subsampled_length, input_features.device
        worth = (0 if device.type == "cpu" else GPU_GROUP_WORTH) if self.group_worth is None else self.group_worth
        num_frames = [count(length) if length else 0 for length in lengths]
        strided_gap = self.subsampling.gap
        packing = Packed(num_frames, count(frame_mask.shape[1]), self._conv_gap, strided_gap, device, worth)
        packed, mask = packing.pack(input_features, frame_mask, lengths, self.config.subsampling_factor)
        hidden_states, _ = self.subsampling(packed, mask)
        del packed, mask  # as large as the input
        hidden_states = packing.close_gaps(hidden_states, strided_gap)
        hidden_states, weighted_sum = self._layers(hidden_states, packing, layer_weights, **kwargs)
        hidden_states = packing.pad(hidden_states)  # (B, T', D)
        return hidden_states, hidden_states if weighted_sum is None else packing.pad(weighted_sum), packing.clip_mask

    def _layers(self, hidden_states, layout, layer_weights, **kwargs):
        is_packed, device = isinstance(layout, Packed), hidden_states.device
        blocks = [plan_blocks(self.config, group, device, is_packed) for group in layout.groups]
        positions = compute_position_embeddings(self.config, layout.positions, reach(blocks), hidden_states)
        weighted_sum = None if layer_weights is None else layer_weights[0] * hidden_states
        for index, layer in enumerate(self.layers):
            hidden_states = layer(hidden_states, layout=layout, blocks=blocks, position_embeddings=positions, **kwargs)
            if layer_weights is not None:
                weighted_sum = weighted_sum + layer_weights[index + 1] * hidden_states
        return hidden_states, weighted_sum
