"""Self-attention of the Conformer: relative, rotary or no positions; over all frames, or over a window of frames.

B batch, H heads, T frames, D d_model, d head size, P relative positions. A group of b clips of L frames attends in n
blocks of each clip, with Q queries and K keys (see `attention_blocks`).
"""

import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .attention_blocks import mask_value
from .masks import is_tracing
from .positions import apply_rotary, relative_shift

MAX_CACHED_POSITIONS = 1024  # relative positions whose projected keys are cached, 2 MB per layer with d_model 512


def eager_attention_forward(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    """The reference: (B, H, Q, d) queries to (B, Q, H, d) outputs and (B, H, Q, K) probabilities."""
    scores = query @ key.transpose(-1, -2) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    probabilities = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
    output = F.dropout(probabilities, dropout, module.training) @ value
    return output.transpose(1, 2), probabilities


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

    def forward(self, hidden_states: torch.Tensor, layout, blocks: list, position_embeddings=None, **kwargs):
        """
        Args:
            hidden_states: (B, T, D), or packed.
            layout: Where the clips are: [`Padded`] or [`Packed`].
            blocks: From `plan_blocks`, for each group of clips.
            position_embeddings: From `compute_position_embeddings`.

        Returns:
            The new states, in the shape of `hidden_states`; and the probabilities (B, H, T, T), with a global frame one
            column more, or None with sdpa and with packed frames.
        """
        has_global = self.config.global_attention != "none"
        qkv = global_qkv = self._heads(self.qkv_proj(hidden_states), layout)
        if self.config.global_attention == "separate":
            global_qkv = self._heads(self.global_qkv_proj(hidden_states), layout)
        query, key, value = qkv.unbind(2)
        relative_key, position_query = None, query
        if self.position_embedding == "relative":
            relative_key, position_query = self._relative_key(position_embeddings), query + self.bias_v
            query = query + self.bias_u
        elif self.position_embedding == "rotary":
            query, key = apply_rotary(qkv[:, :, :2], *position_embeddings).unbind(2)
        states = [query, key, value, position_query, *(global_qkv.unbind(2) if has_global else ())]
        del qkv, global_qkv, query, key, value, position_query  # as large as the input, each

        outputs, probabilities = [], None
        for group, group_blocks, *parts in zip(layout.groups, blocks, *map(layout.split, states), strict=True):
            output, probabilities = self._attend_group(group, group_blocks, relative_key, *parts, **kwargs)
            outputs.append(output)
        del states, parts
        return self.o_proj(layout.join(outputs)), probabilities

    def _heads(self, qkv, layout):
        """(B, T, 3 D) or packed to (B, T', 3, H, d), in the order of the groups."""
        return layout.to_groups(qkv).unflatten(-1, (3, self.num_heads, self.head_dim))

    def _attend_group(self, group, blocks, relative_key, query, key, value, position_query, *global_states, **kwargs):
        """Queries, keys and values (b, L, H, d) to (b, L, D) and the probabilities of the last blocks.

        `position_query` has the queries for the position scores; `global_states` those of the global frame, if any.
        """
        outputs, probabilities = [], None
        for each in blocks:
            block_query, block_key, block_value = each.queries(query), each.keys(key), each.keys(value)
            if relative_key is None:
                bias = each.additive_mask(query.dtype)
            else:
                bias = self._position_bias(each.queries(position_query), relative_key, each)  # (b n, H, Q, K)
            if global_states:  # one more key, of zeros, so that its score is the bias alone; no position enters it
                column = self._scores_of_first(*global_states[:2], each)
                bias = column.new_zeros(1) if bias is None else bias
                bias = torch.cat([bias.expand(*column.shape[:-1], each.num_keys), column], dim=-1)
                block_key = F.pad(block_key, (0, 0, 0, 0, 0, 1))
                block_value = torch.cat([block_value, value[:, :1].repeat_interleave(each.count, dim=0)], dim=1)
            output, probabilities = self._attend(block_query, block_key, block_value, bias, **kwargs)
            outputs.append(each.join(output, group.length))
        output = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)
        if global_states:  # the global frame itself sees every valid frame, by its own projections
            bias = None
            if group.key_mask is not None:
                bias = query.new_zeros(1).where(group.key_mask[:, None, None, :], mask_value(query.dtype))
            global_query, global_key, global_value = global_states
            first, _ = self._attend(global_query[:, :1], global_key, global_value, bias, **kwargs)
            output = torch.cat([first, output[:, 1:]], dim=1)
        return output.flatten(-2), probabilities

    def _attend(self, query, key, value, bias, **kwargs):
        """(b n, Q, H, d) queries, with keys and values (b n, K, H, d), to outputs (b n, Q, H, d) and probabilities."""
        implementation = self.config._attn_implementation
        if kwargs.get("output_attentions"):
            implementation = "eager"  # the only one that returns probabilities
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, eager_attention_forward)
        dropout = self.config.dropout if self.training else 0.0
        states = (each.transpose(1, 2) for each in (query, key, value))
        return attend(self, *states, bias, scaling=self.scaling, dropout=dropout, **kwargs)

    def _scores_of_first(self, query, key, blocks):
        """Scaled scores of each clip's first frame, (b n, H, Q, 1)."""
        first_key = key[:, :1].repeat_interleave(blocks.count, dim=0)  # (b n, 1, H, d)
        return blocks.queries(query).transpose(1, 2) @ first_key.permute(0, 2, 3, 1) * self.scaling

    def _position_bias(self, query, relative_key, blocks):
        """Scaled scores of the relative positions, (b n, H, Q, K), or `mask_value` where a query can't see a key."""
        farthest = blocks.before + blocks.size  # a little farther than the last query is from the first key
        reach = relative_key.shape[-1] // 2  # the distance in the first column; each column is one nearer
        columns = relative_key[..., reach - farthest : reach - blocks.before + blocks.num_keys + 1]
        if is_tracing():  # the view below would bind an exported model to more than one clip
            scores = relative_shift(query.transpose(1, 2) @ columns, blocks.num_keys)
        else:  # no clip gets a copy of the columns
            query, out = query.flatten(0, 1).transpose(0, 1), None  # (H, b n Q, d)
            if blocks.scratch is not None and query.dtype == columns.dtype:  # autocast does not cast for `out`
                out = blocks.scratch.take((*query.shape[:2], columns.shape[-1]), query)
            scores = torch.matmul(query, columns, out=out)  # (H, b n Q, Q + K + 1)
            scores = relative_shift(scores.unflatten(1, (-1, blocks.size)), blocks.num_keys).transpose(0, 1)
        if blocks.hidden is None:
            return scores
        fill = scores.masked_fill if scores.requires_grad or is_tracing() else scores.masked_fill_
        return fill(blocks.hidden, mask_value(scores.dtype))

    def _relative_key(self, sinusoids):
        """The projected keys of the relative positions, over sqrt(d), (H, d, P); cached while they are prepacked."""
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
