"""Self-attention of the Conformer: relative, rotary or no positions; over all frames, or over a window of frames.

B batch, H heads, T frames, N packed frames, D d_model, d head size, P relative positions. A block is Q queries of a
clip and the K keys that at least one of them sees.
"""

import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .positions import apply_rotary, relative_shift

QUERY_BLOCK = 128  # queries that attend at a time where frames are packed: memory grows with the length, not its square
MAX_CACHED_POSITIONS = 1024  # relative positions whose projected keys are cached, 2 MB per layer with d_model 512


def eager_attention_forward(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    """The reference: (B, H, Q, d) queries to (B, Q, H, d) outputs and (B, H, Q, K) probabilities."""
    scores = query @ key.transpose(-1, -2) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    probabilities = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
    output = F.dropout(probabilities, dropout, module.training) @ value
    return output.transpose(1, 2), probabilities


def mask_value(dtype: torch.dtype) -> float:
    """Score of a masked key: its probability is 0, yet a row of masked keys alone and sums with it stay finite."""
    return torch.finfo(dtype).min / 2


class ConformerAttention(nn.Module):
    """Multi-head self-attention over the valid frames of each clip.

    With relative positions, score(i, j) = ((q_i + u) k_j + (q_i + v) r_(i-j)) / sqrt(d), where r is the projected
    sinusoid of the distance (Transformer-XL, section 3.3; NeMo's `RelPositionMultiHeadAttention`). With a window, frame
    i sees the frames i - L to i + R. Chunks limit the window, and a global first frame adds to it (see the
    configuration).
    """

    is_causal = False  # read by the sdpa interface

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.num_heads = config.num_heads
        self.head_dim = config.d_model // config.num_heads
        self.scaling = self.head_dim**-0.5
        self.position_embedding = config.position_embedding
        self.rel_key_cache = None  # see _relative_key
        self.qkv_proj = nn.Linear(config.d_model, 3 * config.d_model, bias=config.use_bias)
        self.o_proj = nn.Linear(config.d_model, config.d_model, bias=config.use_bias)
        if self.position_embedding == "relative":
            self.relative_k_proj = nn.Linear(config.d_model, config.d_model, bias=False)
            self.bias_u = nn.Parameter(torch.empty(self.num_heads, self.head_dim))
            self.bias_v = nn.Parameter(torch.empty(self.num_heads, self.head_dim))
        if config.global_attention == "separate":
            self.global_qkv_proj = nn.Linear(config.d_model, 3 * config.d_model, bias=config.use_bias)

    def init_parameters(self):
        if self.position_embedding == "relative":
            init.zeros_(self.bias_u)
            init.zeros_(self.bias_v)

    def forward(self, hidden_states: torch.Tensor, frame_mask=None, position_embeddings=None, packing=None, **kwargs):
        """
        Args:
            hidden_states: (B, T, D), or packed (1, N, D).
            frame_mask: (B, T), true where valid; None where nothing is masked.
            position_embeddings: From `compute_position_embeddings`.
            packing: Where the clips are in packed frames; None if they are not packed.

        Returns:
            The new states, in the shape of `hidden_states`; and the probabilities (B, H, T, T), with a global frame one
            column more, or None with sdpa and with packed frames.
        """
        qkv = self.qkv_proj(hidden_states)
        global_qkv = self.global_qkv_proj(hidden_states) if self.config.global_attention == "separate" else qkv
        if self.position_embedding == "relative":
            position_embeddings = self._relative_key(position_embeddings)
        if packing is None:
            output, probabilities = self._attend_clips(qkv, global_qkv, frame_mask, position_embeddings, **kwargs)
        else:
            clips = zip(packing.split(qkv), packing.split(global_qkv), strict=True)
            outputs = [
                self._attend_clips(*clip, None, position_embeddings, query_block=QUERY_BLOCK, **kwargs)[0]
                for clip in clips
            ]
            output, probabilities = packing.join(outputs), None
            del clips, outputs
        del qkv, global_qkv  # three times as large as the input
        return self.o_proj(output), probabilities

    def _attend_clips(self, qkv, global_qkv, frame_mask, position_embeddings, query_block=None, **kwargs):
        """Clips of one length, or padded to one: (B, T, 3 D) to (B, T, D) and the probabilities of the last block."""
        num_frames = qkv.shape[1]
        query, key, value = self._split_heads(qkv)  # (B, H, T, d) each
        if self.position_embedding == "rotary":
            angles = [each[:num_frames] for each in position_embeddings]
            query, key = apply_rotary(query, *angles), apply_rotary(key, *angles)
        has_global = self.config.global_attention != "none"
        global_query, global_key, global_value = self._split_heads(global_qkv) if has_global else (None, None, None)

        outputs, probabilities = [], None
        for first in [0] if query_block is None else range(0, num_frames, query_block):
            queries = slice(first, num_frames if query_block is None else min(first + query_block, num_frames))
            keys = slice(0, num_frames) if query_block is None else self._key_range(queries, num_frames)
            block_query, block_key, block_value = query[:, :, queries], key[:, :, keys], value[:, :, keys]
            bias = self._bias(block_query, position_embeddings, frame_mask, queries, keys)  # (B, H, Q, K) or None
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

    def _attend(self, query, key, value, bias, **kwargs):
        implementation = self.config._attn_implementation
        if kwargs.get("output_attentions"):
            implementation = "eager"  # the only one that returns probabilities
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, eager_attention_forward)
        dropout = self.config.dropout if self.training else 0.0
        return attend(self, query, key, value, bias, scaling=self.scaling, dropout=dropout, **kwargs)

    def _split_heads(self, qkv):
        """(B, T, 3 D) to queries, keys and values, (3, B, H, T, d)."""
        return qkv.unflatten(-1, (3, self.num_heads, self.head_dim)).permute(2, 0, 3, 1, 4)

    def _bias(self, query, relative_key, frame_mask, queries, keys):
        """What is added to the scores of a block: position scores, and `mask_value` for keys that a query can't see."""
        bias = self._position_scores(query, relative_key, queries, keys)  # (B, H, Q, K) or None
        visible = self._window_mask(queries, keys, query.device)  # (Q, K) or None
        if frame_mask is not None:
            valid_keys = frame_mask[:, None, None, keys]
            visible = valid_keys if visible is None else valid_keys & visible
        if visible is None:
            return bias
        bias = query.new_zeros(1) if bias is None else bias
        return bias.where(visible, mask_value(query.dtype))

    def _position_scores(self, query, relative_key, queries, keys):
        """Scaled scores of the relative positions, (B, H, Q, K); None without."""
        if self.position_embedding != "relative":
            return None
        num_queries, num_keys = queries.stop - queries.start, keys.stop - keys.start
        farthest = queries.stop - 1 - keys.start  # of the last query to the first key
        reach = relative_key.shape[-1] // 2  # its distance in the first column; each column is one nearer
        columns = relative_key[..., reach - farthest : reach - farthest + num_queries + num_keys - 1]
        scores = ((query + self.bias_v[:, None]) * self.scaling) @ columns  # (B, H, Q, Q + K - 1)
        return relative_shift(scores, num_keys)

    def _relative_key(self, sinusoids):
        """The projected keys of the relative positions, (H, d, P); cached while the projection is prepacked."""
        # An adapter or a quantised layer may replace ours.
        cacheable = getattr(self.relative_k_proj, "is_prepacked", False) and len(sinusoids) <= MAX_CACHED_POSITIONS
        if cacheable and self.rel_key_cache is not None:
            packed, cached = self.rel_key_cache
            # The keys of more positions serve as well: those that are needed are in their middle.
            if packed is self.relative_k_proj.packed and cached.shape[-1] >= len(sinusoids):
                return cached
        relative_key = self.relative_k_proj(sinusoids).unflatten(-1, (self.num_heads, -1)).permute(1, 2, 0)
        if cacheable:
            self.rel_key_cache = self.relative_k_proj.packed, relative_key
        return relative_key

    def __getstate__(self):
        return self.__dict__ | {"rel_key_cache": None}

    def _window(self):
        """Frames seen to the left and right in whole chunks, -1 for all; and the length of a chunk."""
        left, right = self.config.attention_context
        if not self.config.attention_chunked:
            return left, right, 1
        chunk = right + 1
        return (left // chunk * chunk if left >= 0 else -1), right, chunk

    def _key_range(self, queries, num_frames):
        """The slice of keys that at least one of the queries sees."""
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
        visible = torch.ones(query.shape[0], key.shape[0], dtype=torch.bool, device=device)
        if left >= 0:
            visible &= key >= query - left // chunk
        if chunk > 1:
            visible &= key <= query
        elif right >= 0:
            visible &= key <= query + right
        return visible
