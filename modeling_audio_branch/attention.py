"""Self-attention of the Conformer: relative (Transformer-XL), rotary or no positions; full, or over a window of frames.

B batch, H heads, T frames, d head size; a block is Q queries of a clip and the K keys that they see.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .layers import Linear

BLOCK = 128  # queries at a time where frames are packed: memory then grows with the length, not with its square
MAX_CACHED_POSITIONS = 1024  # relative positions whose projected keys are kept between calls, 2 MB per layer of 512


def eager_attention_forward(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    """The reference: (B, H, Q, d) queries to (B, Q, H, d) outputs and (B, H, Q, K) probabilities."""
    scores = query @ key.transpose(-1, -2) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    probabilities = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
    output = F.dropout(probabilities, dropout, module.training) @ value
    return output.transpose(1, 2), probabilities


def mask_value(dtype: torch.dtype) -> float:
    """Score of a masked key: its probability is 0, yet a row of nothing else stays finite, and so do sums with it."""
    return torch.finfo(dtype).min / 2


def relative_position_embeddings(first: int, last: int, dim: int, like: torch.Tensor) -> torch.Tensor:
    """Sinusoids (first - last + 1, dim) of the relative positions first, first - 1, ..., last, in the dtype of `like`.

    Follows NeMo's `RelPositionalEncoding`: sine in the even columns, cosine in the odd, computed in float32.
    """
    positions = torch.arange(first, last - 1, -1, device=like.device, dtype=torch.float32)
    divisor = torch.exp(torch.arange(0, dim, 2, device=like.device, dtype=torch.float32) * -(math.log(10000.0) / dim))
    angles = positions[:, None] * divisor  # (positions, dim / 2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).to(like.dtype)


def rotary_position_embeddings(num_frames: int, head_dim: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines (T, d) that turn the pairs (i, i + d / 2) of each frame by its position (RoFormer, eq. 34)."""
    frequencies = 10000.0 ** -(torch.arange(0, head_dim, 2, device=like.device, dtype=torch.float32) / head_dim)
    angles = torch.arange(num_frames, device=like.device, dtype=torch.float32)[:, None] * frequencies
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def compute_position_embeddings(config, num_frames: int, like: torch.Tensor, in_blocks: bool):
    """What the layers need to know of positions in clips of up to `num_frames`: once for all of them.

    Sinusoids of the relative positions reach, ..., -reach, with reach the farthest that a query (in a window, one of a
    block of queries) looks; rotary cosines and sines; or None.
    """
    if config.position_embedding == "relative":
        reach = num_frames - 1
        if in_blocks and min(config.attention_context) >= 0:
            reach = min(reach, 2 * max(config.attention_context) + BLOCK)
        return relative_position_embeddings(reach, -reach, config.d_model, like)
    if config.position_embedding == "rotary":
        return rotary_position_embeddings(num_frames, config.d_model // config.num_heads, like)
    return None


def apply_rotary(states: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Turns queries or keys (B, H, T, d) by the angles of `rotary_position_embeddings`."""
    first, second = states.chunk(2, dim=-1)
    return states * cosine + torch.cat([-second, first], dim=-1) * sine


class ConformerAttention(nn.Module):
    """Multi-head self-attention over the valid frames of each clip.

    With relative positions, score(i, j) = ((q_i + u) k_j + (q_i + v) r_(i-j)) / sqrt(d), where r is the projected
    sinusoid of the distance (Transformer-XL, section 3.3; NeMo's `RelPositionMultiHeadAttention`). With a window, frame
    i sees the frames i - L to i + R. Chunks and a global first frame are further limits and additions to the window
    (see the configuration).
    """

    is_causal = False  # read by the sdpa interface

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.num_heads = config.num_heads
        self.head_dim = config.d_model // config.num_heads
        self.scaling = self.head_dim**-0.5
        self.position_embedding = config.position_embedding
        self.kept = None  # see _relative_key
        self.qkv_proj = Linear(config.d_model, 3 * config.d_model, bias=config.use_bias)
        self.o_proj = Linear(config.d_model, config.d_model, bias=config.use_bias)
        if self.position_embedding == "relative":
            self.relative_k_proj = Linear(config.d_model, config.d_model, bias=False)
            self.bias_u = nn.Parameter(torch.empty(self.num_heads, self.head_dim))
            self.bias_v = nn.Parameter(torch.empty(self.num_heads, self.head_dim))
        if config.global_attention == "separate":
            self.global_qkv_proj = Linear(config.d_model, 3 * config.d_model, bias=config.use_bias)

    def forward(self, hidden_states: torch.Tensor, frame_mask=None, positions=None, packing=None, **kwargs):
        """
        Args:
            hidden_states: (B, T, D), or packed (1, N, D).
            frame_mask: (B, T), true where valid; None where nothing is masked.
            positions: From `compute_position_embeddings`.
            packing: Where the clips lie in packed frames; None if they are not packed.

        Returns:
            As `hidden_states`; and the probabilities (B, H, T, T), with a global frame one column more, or None with
            sdpa and with packed frames.
        """
        qkv = self.qkv_proj(hidden_states)
        global_qkv = self.global_qkv_proj(hidden_states) if self.config.global_attention == "separate" else qkv
        if self.position_embedding == "relative":
            positions = self._relative_key(positions)
        if packing is None:
            output, probabilities = self._clips(qkv, global_qkv, frame_mask, positions, None, **kwargs)
        else:
            clips = zip(packing.split(qkv), packing.split(global_qkv), strict=True)
            outputs = [self._clips(*clip, None, positions, BLOCK, **kwargs)[0] for clip in clips]
            output, probabilities = packing.join(outputs), None
            del clips, outputs
        del qkv, global_qkv  # three times as large as the input
        return self.o_proj(output), probabilities

    def _clips(self, qkv, global_qkv, frame_mask, positions, block, **kwargs):
        """Clips of one length, or padded to one: (B, T, 3 D) to (B, T, D) and the probabilities of the last block.

        So many queries are a block; all of them, if None.
        """
        num_frames = qkv.shape[1]
        query, key, value = self._heads(qkv)  # (B, H, T, d) each
        if self.position_embedding == "rotary":
            angles = [each[:num_frames] for each in positions]
            query, key = apply_rotary(query, *angles), apply_rotary(key, *angles)
        has_global = self.config.global_attention != "none"
        global_query, global_key, global_value = self._heads(global_qkv) if has_global else (None, None, None)

        outputs, probabilities = [], None
        for first in [0] if block is None else range(0, num_frames, block):
            queries = slice(first, num_frames if block is None else min(first + block, num_frames))
            keys = slice(0, num_frames) if block is None else self._key_range(queries, num_frames)
            bias = self._position_scores(query[:, :, queries], positions, queries, keys)  # (B, H, Q, K) or None
            seen = self._window_mask(queries, keys, query.device)  # (Q, K) or None
            if frame_mask is not None:
                valid = frame_mask[:, None, None, keys]
                seen = valid if seen is None else valid & seen
            if seen is not None:
                bias = query.new_zeros(1) if bias is None else bias
                bias = bias.where(seen, mask_value(query.dtype))
            block_query, block_key, block_value = query[:, :, queries], key[:, :, keys], value[:, :, keys]
            if self.position_embedding == "relative":
                block_query = block_query + self.bias_u[:, None]
            if has_global:  # one more key, of zeros, so that its score is the bias alone; no position enters it
                column = global_query[:, :, queries] @ global_key[:, :, :1].transpose(-1, -2) * self.scaling
                bias = torch.cat([bias.expand(*column.shape[:-1], block_key.shape[2]), column], dim=-1)
                block_key = F.pad(block_key, (0, 0, 0, 1))
                block_value = torch.cat([block_value, value[:, :, :1]], dim=2)
            output, probabilities = self._attend(block_query, block_key, block_value, bias, **kwargs)
            outputs.append(output)  # (B, Q, H, d)
        if has_global:  # the global frame itself sees every valid frame, by its own projections
            bias = None
            if frame_mask is not None:
                bias = query.new_zeros(1).where(frame_mask[:, None, None, :], mask_value(query.dtype))
            first, _ = self._attend(global_query[:, :, :1], global_key, global_value, bias, **kwargs)
            outputs[0] = torch.cat([first, outputs[0][:, 1:]], dim=1)
        output = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)
        return output.flatten(-2), probabilities

    def _relative_key(self, sinusoids):
        """The projected keys of the relative positions, (H, d, P). Kept while the projection is prepacked."""
        # An adapter or a quantised layer may stand in the place of ours.
        keep = getattr(self.relative_k_proj, "is_prepacked", False) and len(sinusoids) <= MAX_CACHED_POSITIONS
        if keep and self.kept is not None:
            version, kept = self.kept
            # Those of more positions do as well: what is needed lies in their middle.
            if version is self.relative_k_proj.packed and kept.shape[-1] >= len(sinusoids):
                return kept
        relative_key = self.relative_k_proj(sinusoids).unflatten(-1, (self.num_heads, -1)).permute(1, 2, 0)
        if keep:
            self.kept = self.relative_k_proj.packed, relative_key
        return relative_key

    def __getstate__(self):
        return self.__dict__ | {"kept": None}

    def _heads(self, projected):
        return projected.unflatten(-1, (3, self.num_heads, self.head_dim)).permute(2, 0, 3, 1, 4)

    def _window(self):
        """Frames seen to the left and right in whole chunks, -1 for all; and the length of a chunk."""
        left, right = self.config.attention_context
        if not self.config.attention_chunked:
            return left, right, 1
        chunk = right + 1
        return (left // chunk * chunk if left >= 0 else -1), right, chunk

    def _key_range(self, queries, num_frames):
        """The keys that at least one of the queries sees: a slice."""
        left, right, chunk = self._window()
        start = 0 if left < 0 else max(0, queries.start // chunk * chunk - left)
        if chunk > 1:
            right = chunk - 1 - (queries.stop - 1) % chunk  # to the end of the last query's chunk
        return slice(start, num_frames if right < 0 else min(num_frames, queries.stop + right))

    def _window_mask(self, queries, keys, device):
        """Which query sees which key, (Q, K), by the window alone; None where all see all."""
        left, right, chunk = self._window()
        if left < 0 and right < 0:
            return None
        query = torch.arange(queries.start, queries.stop, device=device)[:, None] // chunk
        key = torch.arange(keys.start, keys.stop, device=device) // chunk
        seen = torch.ones(query.shape[0], key.shape[0], dtype=torch.bool, device=device)
        if left >= 0:
            seen &= key >= query - left // chunk
        if chunk > 1:
            seen &= key <= query
        elif right >= 0:
            seen &= key <= query + right
        return seen

    def _position_scores(self, query, relative_key, queries, keys):
        """Scaled scores of the relative positions, (B, H, Q, K); None without."""
        if self.position_embedding != "relative":
            return None
        num_queries, num_keys = queries.stop - queries.start, keys.stop - keys.start
        farthest = queries.stop - 1 - keys.start  # of the last query to the first key
        reach = relative_key.shape[-1] // 2  # its distance in the first column; each column is one nearer
        columns = relative_key[..., reach - farthest : reach - farthest + num_queries + num_keys - 1]
        scores = ((query + self.bias_v[:, None]) * self.scaling) @ columns  # (B, H, Q, Q + K - 1)
        # The score of query i and key j is in column Q - 1 - i + j. In memory a row is Q + K - 1 long, so reading rows
        # of one number less, from element Q - 1 on, moves each row one further to the left.
        if num_queries == 1:
            return scores
        flat = scores.flatten(-2)[..., num_queries - 1 : num_queries - 1 + num_queries * (num_queries + num_keys - 2)]
        return flat.unflatten(-1, (num_queries, num_queries + num_keys - 2))[..., :num_keys]

    def _attend(self, query, key, value, bias, **kwargs):
        implementation = self.config._attn_implementation
        if kwargs.get("output_attentions"):
            implementation = "eager"  # the only one that has probabilities to give
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, eager_attention_forward)
        dropout = self.config.dropout if self.training else 0.0
        return attend(self, query, key, value, bias, scaling=self.scaling, dropout=dropout, **kwargs)
