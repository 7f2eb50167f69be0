"""Self-attention of the Conformer: relative (Transformer-XL), rotary or no positions; full, or over a window of frames.

B batch, H heads, T frames, d head size. Windows: L and R frames seen to the left and right, N blocks of Q queries each.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

MIN_BLOCK = 32  # queries per block, where the window is smaller than this


def eager_attention_forward(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    """The reference: (B, H, T, d) queries to (B, T, H, d) outputs and (B, H, T, T) probabilities."""
    scores = query @ key.transpose(-1, -2) * scaling + attention_mask
    probabilities = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
    output = F.dropout(probabilities, dropout, module.training) @ value
    return output.transpose(1, 2), probabilities


def masked_score(dtype: torch.dtype) -> float:
    """Score of a masked key: its probability is 0, yet a row of nothing else stays finite, and so do sums with it."""
    return torch.finfo(dtype).min / 2


def relative_positions(first: int, last: int, dim: int, like: torch.Tensor) -> torch.Tensor:
    """Sinusoids (first - last + 1, dim) of the relative positions first, first - 1, ..., last, in the dtype of `like`.

    Follows NeMo's `RelPositionalEncoding`: sine in the even columns, cosine in the odd, computed in float32.
    """
    positions = torch.arange(first, last - 1, -1, device=like.device, dtype=torch.float32)
    divisor = torch.exp(torch.arange(0, dim, 2, device=like.device, dtype=torch.float32) * -(math.log(10000.0) / dim))
    angles = positions[:, None] * divisor  # (positions, dim / 2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).to(like.dtype)


def rotary_positions(num_frames: int, head_dim: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines (T, d) that turn the pairs (i, i + d / 2) of each frame by its position (RoFormer, eq. 34)."""
    frequencies = 10000.0 ** -(torch.arange(0, head_dim, 2, device=like.device, dtype=torch.float32) / head_dim)
    angles = torch.arange(num_frames, device=like.device, dtype=torch.float32)[:, None] * frequencies
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def rotate(states: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Turns queries or keys (B, H, T, d) by the angles of `rotary_positions`."""
    first, second = states.chunk(2, dim=-1)
    return states * cosine + torch.cat([-second, first], dim=-1) * sine


def shift_rows(scores: torch.Tensor, fill: float) -> torch.Tensor:
    """Moves row i of (..., Q, P) by i columns to the right, `fill` elsewhere: (..., Q, Q + P - 1). A mere reshape."""
    rows, columns = scores.shape[-2:]
    flat = F.pad(scores, (0, rows), value=fill).flatten(-2)
    return flat[..., : rows * (rows + columns - 1)].unflatten(-1, (rows, rows + columns - 1))


class ConformerAttention(nn.Module):
    """Multi-head self-attention over the valid frames of each clip.

    With relative positions, score(i, j) = ((q_i + u) k_j + (q_i + v) r_(i-j)) / sqrt(d), where r is the projected
    sinusoid of the distance (Transformer-XL, section 3.3; NeMo's `RelPositionMultiHeadAttention`). With a window, frame
    i sees the frames i - L to i + R; queries go in blocks, each with the keys it can reach, so memory grows linearly
    with T. Chunks and a global first frame are further limits and additions to the window (see the configuration).
    """

    is_causal = False  # read by the sdpa interface

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.num_heads = config.num_heads
        self.head_dim = config.d_model // config.num_heads
        self.scaling = self.head_dim**-0.5
        self.context = config.attention_context
        self.position_embedding = config.position_embedding
        self.qkv_proj = nn.Linear(config.d_model, 3 * config.d_model, bias=config.use_bias)
        self.o_proj = nn.Linear(config.d_model, config.d_model, bias=config.use_bias)
        if self.position_embedding == "relative":
            self.relative_k_proj = nn.Linear(config.d_model, config.d_model, bias=False)
            self.bias_u = nn.Parameter(torch.empty(self.num_heads, self.head_dim))
            self.bias_v = nn.Parameter(torch.empty(self.num_heads, self.head_dim))
        if config.global_attention == "separate":
            self.global_qkv_proj = nn.Linear(config.d_model, 3 * config.d_model, bias=config.use_bias)

    def forward(self, hidden_states: torch.Tensor, frame_mask: torch.Tensor, **kwargs):
        """
        Args:
            hidden_states: (B, T, D).
            frame_mask: (B, T), true where valid.

        Returns:
            (B, T, D), and the probabilities: None with sdpa, else (B, H, T, T), with a window (B, N, H, Q, L + Q + R)
            and with a global frame one column more.
        """
        num_frames = hidden_states.shape[1]
        query, key, value = self._heads(self.qkv_proj(hidden_states))  # (B, H, T, d) each
        global_heads = None
        if self.config.global_attention == "shared":
            global_heads = query, key, value
        elif self.config.global_attention == "separate":
            global_heads = self._heads(self.global_qkv_proj(hidden_states))
        if self.position_embedding == "rotary":
            angles = rotary_positions(num_frames, self.head_dim, hidden_states)
            query, key = rotate(query, *angles), rotate(key, *angles)

        left, right = (num_frames - 1 if side < 0 else side for side in self.context)
        sees_all = min(left, right) >= num_frames - 1
        if sees_all and not self.config.attention_chunked and global_heads is None:
            output, probabilities = self._full(query, key, value, frame_mask, **kwargs)
        else:
            output, probabilities = self._windowed(query, key, value, frame_mask, left, right, global_heads, **kwargs)
        return self.o_proj(output.flatten(-2)), probabilities

    def _heads(self, projected):
        return projected.unflatten(-1, (3, self.num_heads, self.head_dim)).permute(2, 0, 3, 1, 4)

    def _full(self, query, key, value, frame_mask, **kwargs):
        num_frames = query.shape[2]
        query, bias = self._position_scores(query, num_frames - 1, -num_frames)  # (B, H, T, 2 T) or a zero
        if self.position_embedding == "relative":
            # Column p of row i is position T-1-p; the score of key j is in column T-1-i+j. In memory a row is 2 T long,
            # so reading rows of 2 T - 1 from element T-1 on moves each row one further to the left.
            flat = bias.flatten(-2)[..., num_frames - 1 : num_frames - 1 + num_frames * (2 * num_frames - 1)]
            bias = flat.unflatten(-1, (num_frames, 2 * num_frames - 1))[..., :num_frames]  # (B, H, T, T)
        bias = bias.where(frame_mask[:, None, None, :], masked_score(query.dtype))
        return self._attend(query, key, value, bias, **kwargs)

    def _windowed(self, query, key, value, frame_mask, left, right, global_heads, **kwargs):
        batch_size, _, num_frames, _ = query.shape
        chunk = right + 1 if self.config.attention_chunked else 1
        chunks_before = left // chunk
        if self.config.attention_chunked:  # the last frame of a chunk sees farthest back, the first farthest ahead
            left = chunks_before * chunk + chunk - 1
        block = max((left + right) // 2, MIN_BLOCK)
        block += -block % chunk  # whole chunks
        padding = -num_frames % block  # to whole blocks
        reach = left + block + right  # keys that a block of queries can reach

        def queries_in_blocks(states):  # (B, H, T, ...) -> (B * N, H, Q, ...)
            return F.pad(states, (0, 0, 0, padding)).unflatten(2, (-1, block)).transpose(1, 2).flatten(0, 1)

        def keys_in_blocks(states):  # (B, H, T, d) -> (B * N, H, L + Q + R, d)
            states = F.pad(states, (0, 0, left, right + padding))
            return states.unfold(2, reach, block).permute(0, 2, 1, 4, 3).flatten(0, 1)

        global_column = None
        if global_heads is not None:  # (B * N, H, Q, 1): no position enters this score
            global_query, global_key, global_value = global_heads
            global_column = queries_in_blocks(global_query @ global_key[:, :, :1].transpose(-1, -2) * self.scaling)
        query = queries_in_blocks(query)
        query, bias = self._position_scores(query, left, -right)  # (B * N, H, Q, L + 1 + R) or a zero
        if self.position_embedding != "relative":
            bias = bias.expand(1, 1, block, left + 1 + right)
        bias = shift_rows(bias, masked_score(query.dtype))  # the window of query i starts at key i of its block
        seen = F.pad(frame_mask, (left, right + padding)).unfold(1, reach, block).flatten(0, 1)[:, None, None, :]
        if self.config.attention_chunked:
            query_chunk = torch.arange(block, device=seen.device)[:, None] // chunk
            key_chunk = (torch.arange(reach, device=seen.device) - left).div(chunk, rounding_mode="floor")
            seen = seen & (key_chunk <= query_chunk) & (key_chunk >= query_chunk - chunks_before)
        bias = bias.where(seen, masked_score(query.dtype))  # (B * N, 1 or H, Q, L + Q + R)
        key, value_blocks = keys_in_blocks(key), keys_in_blocks(value)
        if global_column is not None:  # a key of zeros, so that the score is the bias alone
            num_blocks = len(key) // batch_size
            key = F.pad(key, (0, 0, 0, 1))
            first_value = value[:, :, :1].repeat_interleave(num_blocks, dim=0)
            value_blocks = torch.cat([value_blocks, first_value], dim=2)
            bias = torch.cat([bias.expand(*global_column.shape[:-1], reach), global_column], dim=-1)
        output, probabilities = self._attend(query, key, value_blocks, bias, **kwargs)
        if probabilities is not None:
            probabilities = probabilities.unflatten(0, (batch_size, -1))
        output = output.unflatten(0, (batch_size, -1)).flatten(1, 2)[:, :num_frames]  # (B, T, H, d)
        if global_heads is not None:  # the global frame itself sees every valid frame, by its own projections
            bias = query.new_zeros(1).where(frame_mask[:, None, None, :], masked_score(query.dtype))
            first, _ = self._attend(global_query[:, :, :1], global_key, global_value, bias, **kwargs)  # (B, 1, H, d)
            output = torch.cat([first, output[:, 1:]], dim=1)
        return output, probabilities

    def _position_scores(self, query, first, last):
        """The query to attend with, and its scaled scores for the relative positions first, ..., last (0 without)."""
        if self.position_embedding != "relative":
            return query, query.new_zeros(1, 1, 1, 1)
        sinusoids = relative_positions(first, last, self.num_heads * self.head_dim, query)  # (P, D)
        relative_key = self.relative_k_proj(sinusoids).unflatten(-1, (self.num_heads, self.head_dim))  # (P, H, d)
        scores = (query + self.bias_v[:, None]) @ relative_key.permute(1, 2, 0)  # (B, H, T, P)
        return query + self.bias_u[:, None], scores * self.scaling

    def _attend(self, query, key, value, bias, **kwargs):
        implementation = self.config._attn_implementation
        if kwargs.get("output_attentions"):
            implementation = "eager"  # the only one that has probabilities to give
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, eager_attention_forward)
        dropout = self.config.dropout if self.training else 0.0
        return attend(self, query, key, value, bias, scaling=self.scaling, dropout=dropout, **kwargs)
