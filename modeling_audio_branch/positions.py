"""Position embeddings of the Conformer: relative (Transformer-XL), rotary (RoFormer) or none.

B batch, H heads, T frames, d head size, D d_model, P relative positions.
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


def rotary_position_embeddings(num_frames: int, head_dim: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines (T, d) that turn the pairs (i, i + d / 2) of each frame by its position (RoFormer, eq. 34)."""
    frequencies = 10000.0 ** -(torch.arange(0, head_dim, 2, device=like.device, dtype=torch.float32) / head_dim)
    angles = torch.arange(num_frames, device=like.device, dtype=torch.float32)[:, None] * frequencies
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def compute_position_embeddings(config, num_frames: int, like: torch.Tensor, query_block: int | None):
    """The position embeddings of clips of up to `num_frames` frames, computed once for all layers.

    Args:
        config: An [`AudioBranchConfig`].
        num_frames: Frames of the longest clip.
        like: A tensor of the device and dtype to use.
        query_block: Queries that attend at a time; None for all.

    Returns:
        With `relative`, sinusoids (P, D) of the positions reach, ..., -reach, where reach is the largest distance
        between a query and a key of its block. With `rotary`, cosines and sines (T, d). Otherwise None.
    """
    if config.position_embedding == "relative":
        reach = num_frames - 1
        if query_block is not None and min(config.attention_context) >= 0:
            reach = min(reach, 2 * max(config.attention_context) + query_block)
        return relative_position_embeddings(reach, -reach, config.d_model, like)
    if config.position_embedding == "rotary":
        return rotary_position_embeddings(num_frames, config.d_model // config.num_heads, like)
    return None


def apply_rotary(states: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Turns queries or keys (B, H, T, d) by the angles of `rotary_position_embeddings`."""
    first, second = states.chunk(2, dim=-1)
    return states * cosine + torch.cat([-second, first], dim=-1) * sine


def relative_shift(scores: torch.Tensor, num_keys: int) -> torch.Tensor:
    """Scores (B, H, Q, Q + K - 1) by relative position to scores (B, H, Q, K) by key, as a view of the same memory.

    The score of query i and key j is in column Q - 1 - i + j. A row is Q + K - 1 numbers long in memory; reading rows
    of one number less, from element Q - 1 on, moves each row one further to the left (Transformer-XL, appendix B).
    """
    num_queries = scores.shape[-2]
    if num_queries == 1:
        return scores
    row = num_queries + num_keys - 2
    flat = scores.flatten(-2)[..., num_queries - 1 : num_queries - 1 + num_queries * row]
    return flat.unflatten(-1, (num_queries, row))[..., :num_keys]
