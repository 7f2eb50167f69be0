"""Which queries attend at a time, and which keys they see: planned once, for all layers.

A group of clips attends in blocks of Q queries of each clip, so that memory grows with the length of a clip and not
with its square. With a window that is limited on both sides, each block sees K keys around it, and many blocks attend
at once; else blocks see all keys, one block after the other.

    frames of a clip     0 1 2 3 4 5 6 7 8 9        window [1, 1], Q = 4
    queries of block 1           x x x x
    keys of block 1            x x x x x x          K = 6, of which each query sees 3

b clips of a group, n blocks of a clip, L frames.
"""

import math
from dataclasses import dataclass, field

import torch
from torch.nn import functional as F

from .packing import ALIGNMENT, ClipGroup

QUERY_BLOCK = 128  # queries of a block where frames are packed
GPU_SCORE_BYTES = 2**29  # of position scores at a time on a GPU, which takes larger blocks and many at once


class Scratch:
    """Memory for the scores of one block after the other, in all layers. New memory for each leaves holes in a heap."""

    buffer = None

    def take(self, shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
        """A tensor of this shape, of the device and dtype of `like`; it is the one that was taken before."""
        size = math.prod(shape)
        if self.buffer is None or len(self.buffer) < size or self.buffer.dtype != like.dtype:
            self.buffer = like.new_empty(size)
        return self.buffer[:size].view(shape)


@dataclass
class Blocks:
    """`count` neighbouring blocks that attend at once.

    Args:
        first: The frame of each clip with the first query.
        count: Blocks n of each clip.
        size: Queries Q of a block.
        before: Frames from the first key of a block to its first query.
        num_keys: Keys K of a block.
        hidden: (b n, 1, Q, K), true where a query does not see a key, with 1 in place of b n if that is the same for
            all; None if every query sees every key.
        scratch: Where the blocks of a long clip put their scores one after the other; None: in memory of their own.
    """

    first: int
    count: int
    size: int
    before: int
    num_keys: int
    hidden: torch.Tensor | None = None
    scratch: "Scratch | None" = None
    _additive: dict = field(default_factory=dict)  # by dtype

    def queries(self, states: torch.Tensor) -> torch.Tensor:
        """(b, L, ...) to the queries of each block, (b n, Q, ...); zeros after the end of a clip."""
        if self.count == 1 and self.first + self.size <= states.shape[1]:
            return states[:, self.first : self.first + self.size]
        return self._cut(states, self.first, self.size)

    def keys(self, states: torch.Tensor) -> torch.Tensor:
        """(b, L, ...) to the keys of each block, (b n, K, ...); zeros before the start and after the end of a clip."""
        start = self.first - self.before
        if self.count == 1 and self.fits_in(states.shape[1]):
            return states[:, start : start + self.num_keys]
        return self._cut(states, start, self.num_keys)

    def fits_in(self, num_frames: int) -> bool:
        """Whether no key is before the start or after the end of a clip."""
        start = self.first - self.before
        return 0 <= start and start + (self.count - 1) * self.size + self.num_keys <= num_frames

    def _cut(self, states, start, length):
        stop = start + (self.count - 1) * self.size + length
        before, after = max(0, -start), max(0, stop - states.shape[1])
        states = F.pad(states[:, max(0, start) : stop], (0, 0) * (states.ndim - 2) + (before, after))
        return states.unfold(1, length, self.size).movedim(-1, 2).flatten(0, 1)

    def join(self, outputs: torch.Tensor, num_frames: int) -> torch.Tensor:
        """What each block makes, (b n, Q, ...), to the frames of the clips that these blocks hold, up to L."""
        if self.count > 1:
            outputs = outputs.unflatten(0, (-1, self.count)).flatten(1, 2)  # (b, n Q, ...)
        return outputs[:, : num_frames - self.first]

    def additive_mask(self, dtype: torch.dtype) -> torch.Tensor | None:
        """What is added to the scores of keys: 0, or `mask_value` where hidden; made once for all layers."""
        if self.hidden is not None and dtype not in self._additive:
            zeros = torch.zeros(self.hidden.shape, dtype=dtype, device=self.hidden.device)
            self._additive[dtype] = zeros.masked_fill_(self.hidden, mask_value(dtype))
        return self._additive.get(dtype)


def mask_value(dtype: torch.dtype) -> float:
    """Score of a hidden key: its probability is 0, yet a row of hidden keys alone and sums with it stay finite."""
    return torch.finfo(dtype).min / 2


def reach(blocks: list[list[Blocks]]) -> int:
    """The largest distance between a query and a key of a block, and a little more, as `relative_shift` reads."""
    return max(max(each.before + each.size, each.num_keys - each.before) for group in blocks for each in group)


def plan_blocks(config, group: ClipGroup, device: torch.device, packed: bool) -> list[Blocks]:
    """The blocks in which a group of clips attends: one of all frames, or, where frames are packed, as many as needed.

    Args:
        config: An [`AudioBranchConfig`].
        group: The clips.
        device: Of the frames.
        packed: Whether frames are packed.
    """
    left, right, chunk = window_in_chunks(config)
    length = group.length
    if not packed:
        blocks = [Blocks(0, 1, length, 0, length)]
    else:
        size = -(-QUERY_BLOCK // chunk) * chunk  # whole chunks
        after = 0 if chunk > 1 else right
        num_keys = left + size + after
        if left >= 0 and right >= 0 and length > num_keys:
            num_keys += -num_keys % ALIGNMENT
            count = -(-length // size)
            at_once = max(1, _queries_at_once(config, group.count * num_keys, device) // size)
            blocks = [
                Blocks(first * size, min(at_once, count - first), size, left, num_keys)
                for first in range(0, count, at_once)
            ]
        else:
            size = max(size, _queries_at_once(config, group.count * length, device) // chunk * chunk)
            blocks = [
                _block(first, min(size, length - first), length, left, right, chunk) for first in range(0, length, size)
            ]
    # Gradients need all scores at the end; GPUs have an allocator that keeps memory for the next block.
    scratch = Scratch() if len(blocks) > 1 and device.type == "cpu" and not torch.is_grad_enabled() else None
    for each in blocks:
        each.scratch = scratch
        each.hidden = _hidden(each, (left, right, chunk), group, device)
    return blocks


def _block(first, size, length, left, right, chunk):
    """One block with the keys that at least one of its queries sees."""
    start = 0 if left < 0 else max(0, first // chunk * chunk - left)
    if chunk > 1:
        right = chunk - 1 - (first + size - 1) % chunk  # to the end of the last query's chunk
    stop = length if right < 0 else min(length, first + size + right)
    return Blocks(first, 1, size, first - start, stop - start)


def _queries_at_once(config, keys_of_all_clips, device):
    if device.type == "cpu":  # whose cache holds the scores of few
        return QUERY_BLOCK
    return max(QUERY_BLOCK, GPU_SCORE_BYTES // (8 * config.num_heads * keys_of_all_clips))


def window_in_chunks(config) -> tuple[int, int, int]:
    """Frames seen to the left and right in whole chunks, -1 for all; and the length of a chunk."""
    left, right = config.attention_context
    if not config.attention_chunked:
        return left, right, 1
    chunk = right + 1
    return (left // chunk * chunk if left >= 0 else -1), right, chunk


def _hidden(blocks, window, group, device):
    """`Blocks.hidden`: by the window, by the padding of a clip, and beyond its ends."""
    start = torch.arange(blocks.count, device=device)[:, None, None] * blocks.size + blocks.first  # (n, 1, 1)
    query = start + torch.arange(blocks.size, device=device)[:, None]  # (n, Q, 1)
    key = start - blocks.before + torch.arange(blocks.num_keys, device=device)  # (n, 1, K)
    visible = _in_window(query, key, window)  # (n, Q, K) or None
    if not blocks.fits_in(group.length):
        inside = (key >= 0) & (key < group.length)
        visible = inside if visible is None else visible & inside
    if group.key_mask is not None:
        valid = blocks.keys(group.key_mask.unsqueeze(-1)).view(-1, blocks.count, 1, blocks.num_keys)  # (b, n, 1, K)
        visible = valid if visible is None else valid & visible
    if visible is None:
        return None
    if blocks.count > 1:
        visible = visible.expand(group.count, *visible.shape[-3:])
    return ~visible.reshape(-1, 1, *visible.shape[-2:])


def _in_window(query, key, window):
    left, right, chunk = window
    if left < 0 and right < 0:
        return None
    query, key = query // chunk, key // chunk
    after_first, before_last = key >= query - left // chunk, key <= query + (0 if chunk > 1 else right)
    if left < 0:
        return before_last
    return after_first if right < 0 else after_first & before_last
