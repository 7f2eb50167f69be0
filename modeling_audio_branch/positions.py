"""Position embeddings of the Conformer: relative (Transformer-XL), rotary (RoFormer) or none.

B batch, H heads, T frames, Q queries, K keys, d head size, D d_model, P relative positions.
"""

import math

import torch


def relative_position_embeddings(first: int, last: int, dim: int, like: torch.Tensor) -> torch.Tensor:
    """Sinusoids (first - last + 1, dim) of the relative positions first, first - 1, ..., last, in the dtype of `like`.

    Follows NeMo's `RelPositionalEncoding`: sine in the even columns, cosine in the odd, computed in float32.
    """
    positions = torch.arange(first, last - 1, -1, device=like.device, dtype=torch.float32)
    divisor = torch.exp(torch.arange(0, dim, 2, device=like.device, dtype=torch.float32) * -(math.log(10000.0) / dim))
    angles = positions[:, None] * divisor  # (P, dim / 2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).to(like.dtype)


def rotary_position_embeddings(
    positions: torch.Tensor, head_dim: int, like: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines (T, d) that turn the pairs (i, i + d / 2) of frames at positions (T,) (RoFormer, eq. 34)."""
    frequencies = 10000.0 ** -(torch.arange(0, head_dim, 2, device=like.device, dtype=torch.float32) / head_dim)
    angles = positions[:, None].float() * frequencies
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def compute_position_embeddings(config, positions: torch.Tensor, reach: int, like: torch.Tensor):
    """The position embeddings, computed once for all layers.

    Args:
        config: An [`AudioBranchConfig`].
        positions: Of each frame in its clip, (T,).
        reach: The largest distance that scores are needed for (see `attention_blocks.reach`).
        like: A tensor of the device and dtype to use.

    Returns:
        With `relative`, sinusoids (2 reach + 1, D) of the positions reach, ..., -reach, over sqrt(d) as all scores.
        With `rotary`, cosines and sines (T, d). Otherwise None.
    """
    head_dim = config.d_model // config.num_heads
    if config.position_embedding == "relative":
        return relative_position_embeddings(reach, -reach, config.d_model, like) * head_dim**-0.5
    if config.position_embedding == "rotary":
        return rotary_position_embeddings(positions, head_dim, like)
    return None


def apply_rotary(states: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Turns queries or keys (B, T, ..., d) by the angles (T, d) of `rotary_position_embeddings`."""
    for _ in range(states.ndim - 3):
        cosine, sine = cosine.unsqueeze(1), sine.unsqueeze(1)
    first, second = states.chunk(2, dim=-1)
    return states * cosine + torch.cat([-second, first], dim=-1) * sine


def relative_shift(scores: torch.Tensor, num_keys: int) -> torch.Tensor:
    """Scores (..., Q, Q + K + 1) by relative position to scores (..., Q, K) by key, as a view of the same memory.

    The score of query i and key j is in column Q - i + j. A row is Q + K + 1 numbers long in memory; reading rows of
    one number less, from element Q on, moves each row one further to the left (Transformer-XL, appendix B). The rows of
    the view are Q + K apart, a multiple of 8 if Q and K are, as fused attention on GPUs asks for.
    """
    num_queries = scores.shape[-2]
    row = num_queries + num_keys
    return scores.flatten(-2)[..., num_queries:].unflatten(-1, (num_queries, row))[..., :num_keys]
