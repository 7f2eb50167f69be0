"""Batches without padding: which clip lies where is planned on the host, from the lengths of the clips.

Clips of one length stay a batch (B, L, D). Others lie in one row (1, R, D), the shortest first. Everything that works
frame by frame takes the row as it is. The depthwise convolution needs `gap` masked frames after each clip, as many as
it looks sideways. Attention takes the clips apart, in groups of one length.

    clip 2  x x x - -  clip 0  x x x x x - -  clip 1  x x x x x - -     gap = 2; clips 0 and 1 are one group

A batch of real recordings is more than half padding, which then costs nothing. A CPU computes no frame too many: the
gaps are there for the convolution only. A GPU waits for the start of operations more than for frames: there the gaps
stay, and a group holds clips of similar lengths, padded to one. Only a few whole numbers go to the device; all indices
are made there, so that nothing waits.

B batch, T frames, R frames of the row, D features of a frame, M mel bins.
"""

from dataclasses import dataclass
from itertools import accumulate

import torch
from torch.nn import functional as F

from .masks import length_mask, to_device

ALIGNMENT = 8  # frames; the length of a padded group is a multiple, as fused attention on GPUs asks for


@dataclass
class ClipGroup:
    """Neighbouring clips that attend together: `count` of `length` frames, some of them padded to it.

    Args:
        key_mask: (count, length), true on the frames of each clip; None if none is padded.
    """

    count: int
    length: int
    key_mask: torch.Tensor | None = None


class Padded:
    """A padded batch as it is: one group."""

    def __init__(self, frame_mask: torch.Tensor):
        self.frame_mask = frame_mask
        self.positions = torch.arange(frame_mask.shape[1], device=frame_mask.device)  # of frames in their clip, (T,)
        self.groups = [ClipGroup(*frame_mask.shape, frame_mask)]

    def to_groups(self, states: torch.Tensor) -> torch.Tensor:
        """(B, T, D) to the order in which `split` takes the frames: the same."""
        return states

    def split(self, states: torch.Tensor) -> list[torch.Tensor]:
        """(B, T, D) to one tensor for each group."""
        return [states]

    def join(self, parts: list[torch.Tensor]) -> torch.Tensor:
        """The parts of `split` to (B, T, D)."""
        return parts[0]

    def open_gaps(self, states: torch.Tensor) -> torch.Tensor:
        """(B, T, D) with zeros wherever a convolution may look beyond a clip."""
        return states * self.frame_mask.unsqueeze(-1)

    def close_gaps(self, states: torch.Tensor) -> torch.Tensor:
        """What `open_gaps` did, undone."""
        return states


class Packed:
    """Where each clip is. Clips without a valid frame are left out.

    Args:
        lengths: Frames of each clip, one at least of any.
        num_frames: T, the frames of the padded batch.
        conv_gap: Masked frames after each clip that the depthwise convolution needs in a row.
        strided_gap: Those that the strided convolutions of the subsampling need, in frames of their result.
        device: Where the frames are.
        worth: Frames of padding in a group of clips that are worth one group less; with more than 0, the gaps stay.
            A 16th of all frames is always worth it, so that a large batch has few groups too.
    """

    def __init__(
        self,
        lengths: list[int],
        num_frames: int,
        conv_gap: int,
        strided_gap: int,
        device: torch.device,
        worth: int = 0,
    ):
        self.shape = len(lengths), num_frames
        self.clips = sorted((clip for clip, length in enumerate(lengths) if length), key=lengths.__getitem__)
        self.lengths = [lengths[clip] for clip in self.clips]
        self.longest = self.lengths[-1]
        self.is_batch = self.lengths[0] == self.longest
        self.is_whole = self.is_batch and len(self.clips) == len(lengths)  # all clips in their order
        self.has_gaps = worth > 0 and not self.is_batch
        if self.has_gaps:
            conv_gap = strided_gap = max(conv_gap, strided_gap)
        self.conv_gap, self.strided_gap = conv_gap, strided_gap
        self._gap = conv_gap if self.has_gaps else 0
        *places, self.size = accumulate((length + self._gap for length in self.lengths), initial=0)

        self.frame_mask = None  # of packed frames, (1, R), if there are gaps
        if self.is_whole:  # nothing goes to the device, so that a CUDA graph can be captured
            self.clip_mask = (torch.arange(num_frames, device=device) < self.longest).expand(self.shape)
        else:
            self._index(places, lengths, device)
        # Of the frames in their clip, in the order of `to_groups`.
        self.positions = torch.arange(self.longest, device=device) if self.is_batch else self._frame
        self._spread_indices = {}  # by the gap
        self._make_groups(worth)

    def _index(self, places, lengths, device):
        numbers = to_device([*self.clips, *self.lengths, *places, *lengths], device)
        self._clips, self._lengths, self._places = numbers[: -len(lengths)].view(3, -1)
        self.clip_mask = length_mask(numbers[-len(lengths) :], self.shape[1])  # (B, T)
        self._owner, self._frame = _runs(self._lengths + self._gap, self._places, self.size)  # of each frame, (R,)
        if self.has_gaps:
            self.frame_mask = (self._frame < self._lengths[self._owner]).unsqueeze(0)

    def _spread(self, gap):
        """Where packed frames are in a row with this gap after each clip, (R,), and the size of that row."""
        if gap not in self._spread_indices:
            indices = torch.arange(self.size, device=self._owner.device) + gap * self._owner
            self._spread_indices[gap] = indices, self.size + gap * len(self.clips)
        return self._spread_indices[gap]

    def _make_groups(self, worth):
        worth = worth and max(worth, sum(self.lengths) // 16)
        groups, padding = [], 0
        for length in self.lengths:  # shortest first: a longer clip pads all others of its group
            more = groups and len(groups[-1]) * (length - groups[-1][-1])
            if groups and padding + more <= worth:
                groups[-1].append(length)
                padding += more
            else:
                groups.append([length])
                padding = 0
        self.groups = [ClipGroup(len(lengths), lengths[-1]) for lengths in groups]
        self.is_gathered = any(lengths[0] < lengths[-1] for lengths in groups)
        if not self.is_gathered:
            return
        for group in self.groups:
            group.length += -group.length % ALIGNMENT
        sizes = [group.length for group in self.groups for _ in range(group.count)]
        *starts, size = accumulate(sizes, initial=0)
        sizes, starts = to_device([sizes, starts], self._lengths.device)
        owner, frame = _runs(sizes, starts, size)
        valid = frame < self._lengths[owner]
        self.positions = frame
        self._to_groups = self._places[owner] + torch.minimum(frame, self._lengths[owner] - 1)
        self._from_groups = starts[self._owner] + torch.minimum(self._frame, self._lengths[self._owner] - 1)
        for group, part in zip(self.groups, valid.split(self._group_sizes()), strict=True):
            group.key_mask = part.view(group.count, group.length)

    def _group_sizes(self):
        gap = 0 if self.is_gathered else self._gap
        return [group.count * (group.length + gap) for group in self.groups]

    def pack(self, features: torch.Tensor, frame_mask: torch.Tensor, lengths: list[int], factor: int):
        """Log-mel frames (B, T, M) to what the strided convolutions of the subsampling take, and its mask.

        Args:
            features: (B, T, M), zero where masked.
            frame_mask: (B, T).
            lengths: The valid log-mel frames of each clip.
            factor: Log-mel frames for each of the frames that are packed.

        Returns:
            A batch (B', L, M) and its mask, None if nothing is masked; or a row (1, ., M) with gaps, in which each clip
            begins at a multiple of `factor` frames, so that strides meet it as they meet the clip alone.
        """
        valid = [lengths[clip] for clip in self.clips]
        if self.is_batch:
            features, frame_mask = features[:, : max(valid)], frame_mask[:, : max(valid)]
            if len(valid) < len(lengths):
                features, frame_mask = (each.index_select(0, self._clips) for each in (features, frame_mask))
            return features, None if min(valid) == max(valid) else frame_mask
        owner, frame = self._owner, self._frame
        if not self.has_gaps:
            starts = self._places + self.strided_gap * torch.arange(len(self.clips), device=features.device)
            owner, frame = _runs(self._lengths + self.strided_gap, starts, self._spread(self.strided_gap)[1])
        frames = frame[:, None] * factor + torch.arange(factor, device=features.device)  # (., factor)
        last = features.shape[1] - 1
        indices = (self._clips[owner][:, None] * features.shape[1] + frames.clamp(max=last)).flatten()
        row_mask = frame_mask.flatten().index_select(0, indices) & (frames <= last).flatten()
        return features.flatten(0, 1).index_select(0, indices).unsqueeze(0), row_mask.unsqueeze(0)

    def pad(self, packed: torch.Tensor) -> torch.Tensor:
        """Packed frames to (B, T, D), zero where masked."""
        if self.is_whole:
            return F.pad(packed, (0, 0, 0, self.shape[1] - self.longest)) if self.longest < self.shape[1] else packed
        num_clips, num_frames = self.shape
        places = self._clips[self._owner] * num_frames + self._frame
        if self.has_gaps:  # whose frames go to one place behind all others
            places = places.where(self.frame_mask[0], num_clips * num_frames)
        padded = packed.new_zeros(num_clips * num_frames + 1, packed.shape[-1])
        padded = padded.index_copy(0, places, packed.flatten(0, 1))
        return padded[:-1].view(num_clips, num_frames, -1)

    def to_groups(self, packed: torch.Tensor) -> torch.Tensor:
        """Packed frames to the order in which `split` takes them, with the padding of the groups."""
        return packed.index_select(1, self._to_groups) if self.is_gathered else packed

    def split(self, states: torch.Tensor) -> list[torch.Tensor]:
        """Frames in the order of `to_groups`, (1, ., ...), to the clips of each group, (count, length, ...)."""
        if self.is_batch:
            return [states]
        # One split, not a slice for each group: the backward pass of a slice fills a gradient of all frames.
        parts = zip(self.groups, states[0].split(self._group_sizes()), strict=True)
        return [part.unflatten(0, (group.count, -1))[:, : group.length] for group, part in parts]

    def join(self, parts: list[torch.Tensor]) -> torch.Tensor:
        """The parts of `split` to packed frames; those of the gaps hold finite values without a meaning."""
        if self.is_batch:
            return parts[0]
        if self.is_gathered:
            frames = torch.cat([part.flatten(0, 1) for part in parts])
            return frames.index_select(0, self._from_groups).unsqueeze(0)
        if self.has_gaps:
            parts = [F.pad(part, (0, 0, 0, self._gap)) for part in parts]
        return torch.cat([part.flatten(0, 1) for part in parts]).unsqueeze(0)

    def open_gaps(self, states: torch.Tensor) -> torch.Tensor:
        """Packed frames with zeros in the gaps, for the depthwise convolution."""
        if self.is_batch:
            return states
        if self.has_gaps:
            return states * self.frame_mask.unsqueeze(-1)
        indices, size = self._spread(self.conv_gap)
        return states.new_zeros(1, size, states.shape[-1]).index_copy(1, indices, states)

    def close_gaps(self, states: torch.Tensor, gap: int | None = None) -> torch.Tensor:
        """A row with gaps (by default those of `open_gaps`), which may hold anything, to packed frames."""
        if self.is_batch:
            return states[:, : self.longest]
        if self.has_gaps:
            return states[:, : self.size]
        return states.index_select(1, self._spread(self.conv_gap if gap is None else gap)[0])


def _runs(sizes, starts, total):
    """For runs of these sizes (n,), one after the other: the run of each of `total` positions, and its place there."""
    runs = torch.arange(len(sizes), device=sizes.device)
    owner = torch.repeat_interleave(runs, sizes, output_size=total)
    return owner, torch.arange(total, device=sizes.device) - starts[owner]
