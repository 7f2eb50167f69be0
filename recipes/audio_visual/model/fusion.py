"""Four ways to make one vector of the segments of two sides.

B clips, S segments, D width of the fusion, H heads. Each fusion takes audio and video (B, S, D), with a learned vector
in place of a side that is missing, `present` (B, 2), true for the sides that a clip has, and the `segment_times`
(B, S, 2) in seconds. It gives the fused vector (B, D) and the weights (B, 2, S) of both sides in each segment: they are
not negative, sum to 1 over sides and segments, and are 0 for a missing side.
"""

import torch
from torch import nn
from transformers import initialization as init


def masked_softmax(scores: torch.Tensor, mask: torch.Tensor, dim: int) -> torch.Tensor:
    """Softmax in float32 over the places where the mask is true; zero everywhere if it is true nowhere."""
    scores = scores.float().masked_fill(~mask, torch.finfo(torch.float32).min)
    return (scores.softmax(dim) * mask).to(scores.dtype)


class ConcatFusion(nn.Module):
    """The mean of each side, one behind the other: knows what both sides hold, but not when. The baseline."""

    def __init__(self, config):
        super().__init__()
        self.mix = nn.Linear(2 * config.fusion_dim, config.fusion_dim)

    def forward(self, audio, video, present, segment_times):
        means = torch.cat([audio.mean(1), video.mean(1)], dim=-1)  # (B, 2 D)
        weights = present / present.sum(-1, keepdim=True).clamp(min=1) / audio.shape[1]  # (B, 2)
        return nn.functional.gelu(self.mix(means)), weights.unsqueeze(-1).expand(-1, -1, audio.shape[1])


class ModalityGate(nn.Module):
    """Weighs the two sides against each other in each segment and dimension, from what both hold."""

    def __init__(self, width: int):
        super().__init__()
        self.scores = nn.Linear(2 * width, 2 * width)

    def forward(self, audio, video, present):
        """Weights (B, S, 2, D), which sum to 1 over the sides that are present."""
        scores = self.scores(torch.cat([audio, video], dim=-1)).unflatten(-1, (2, -1))  # (B, S, 2, D)
        return masked_softmax(scores, present[:, None, :, None].expand_as(scores), 2).to(audio.dtype)


def gate_weights(gates: torch.Tensor) -> torch.Tensor:
    """Gates (B, S, 2, D) to weights (B, 2, S)."""
    return gates.mean(-1).transpose(1, 2) / gates.shape[1]


class GatedFusion(nn.Module):
    """A gated multimodal unit in each segment (Arevalo et al. 2017), a linear layer, and the mean of the segments."""

    def __init__(self, config):
        super().__init__()
        width = config.fusion_dim
        self.audio, self.video = nn.Linear(width, width), nn.Linear(width, width)
        self.gate = ModalityGate(width)
        self.mix = nn.Linear(width, width)

    def forward(self, audio, video, present, segment_times):
        gates = self.gate(audio, video, present)  # (B, S, 2, D)
        sides = torch.stack([self.audio(audio).tanh(), self.video(video).tanh()], dim=2)  # (B, S, 2, D)
        fused = nn.functional.gelu(self.mix((gates * sides).sum(2)))  # (B, S, D)
        return fused.mean(1), gate_weights(gates)


class SegmentAttention(nn.Module):
    """Attention of one side's segments to those of the other, with a bias against distance in time.

    The bias is that of ALiBi (Press et al. 2022), a slope for each head times the distance, but it is learned, and the
    distance is that of the middles of the segments, in segments.
    """

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.o_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.log_slopes = nn.Parameter(torch.empty(num_heads))

    def init_parameters(self):
        init.copy_(self.log_slopes, torch.linspace(1.0, -3.0, self.num_heads))  # from the same segment to half a clip

    def forward(self, queries, keys, segment_times):
        q, k, v = (
            project(states).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for project, states in ((self.q_proj, queries), (self.k_proj, keys), (self.v_proj, keys))
        )  # (B, H, S, D / H)
        middles = segment_times.mean(-1)  # (B, S)
        length = (segment_times[..., 1] - segment_times[..., 0]).mean(-1).clamp(min=1e-6)  # (B,)
        distance = (middles.unsqueeze(-1) - middles.unsqueeze(-2)).abs() / length.view(-1, 1, 1)  # (B, S, S)
        bias = -self.log_slopes.exp().view(-1, 1, 1) * distance.unsqueeze(1).to(q.dtype)  # (B, H, S, S)
        attended = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        return self.o_proj(attended.transpose(1, 2).flatten(2))


class CrossAttentionFusion(nn.Module):
    """Each side's segments look at those of the other; the 2 S results are pooled by learned weights."""

    def __init__(self, config):
        super().__init__()
        width = config.fusion_dim
        self.to_video = SegmentAttention(width, config.num_heads)
        self.to_audio = SegmentAttention(width, config.num_heads)
        self.mix = nn.Sequential(nn.Linear(2 * width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.norm = nn.LayerNorm(width)
        self.score = nn.Linear(width, 1)

    def forward(self, audio, video, present, segment_times):
        seen = torch.cat([self.to_video(audio, video, segment_times), self.to_audio(video, audio, segment_times)], 1)
        own = torch.cat([audio, video], 1)  # (B, 2 S, D)
        tokens = self.norm(own + self.mix(torch.cat([own, seen], dim=-1)))
        mask = present.repeat_interleave(audio.shape[1], dim=1)  # (B, 2 S)
        weights = masked_softmax(self.score(tokens).squeeze(-1), mask, 1).to(tokens.dtype)
        pooled = (weights.unsqueeze(-1) * tokens).sum(1)
        return pooled, weights.unflatten(1, (2, -1))


class LiquidFusion(nn.Module):
    """Gated sides through a closed-form continuous-time network (CfC; Hasani et al. 2022), and the mean of its states.

    The network is given the seconds from the middle of one segment to that of the next.
    """

    def __init__(self, config):
        super().__init__()
        try:  # a checkpoint with another fusion needs no ncps
            from ncps.torch import CfC
        except ImportError as error:
            raise ImportError(
                "fusion='liquid' needs the package ncps; install it with pip install ncps, or choose another fusion."
            ) from error
        width = config.fusion_dim
        self.gate = ModalityGate(width)
        self.mix = nn.Linear(2 * width, 2 * width)
        self.network = CfC(2 * width, width, activation="gelu", backbone_units=2 * width)

    def forward(self, audio, video, present, segment_times):
        gates = self.gate(audio, video, present)  # (B, S, 2, D)
        sides = (2 * gates * torch.stack([audio, video], dim=2)).flatten(2)  # (B, S, 2 D)
        inputs = nn.functional.gelu(self.mix(sides))
        middles = segment_times.mean(-1)  # (B, S)
        steps = middles.diff(dim=1, prepend=torch.zeros_like(middles[:, :1])).to(inputs.dtype)
        # ncps takes a step for each unit: its (B, S) fails in batches.
        steps = steps.unsqueeze(-1).expand(-1, -1, audio.shape[-1])
        states, _ = self.network(inputs, inputs.new_zeros(len(inputs), audio.shape[-1]), steps)  # (B, S, D)
        return states.mean(1), gate_weights(gates)


FUSIONS = {
    "concat": ConcatFusion,
    "gated": GatedFusion,
    "cross_attention": CrossAttentionFusion,
    "liquid": LiquidFusion,
}
