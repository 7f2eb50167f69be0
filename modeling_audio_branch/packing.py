"""Batches without padding: the frames of all clips one behind the other, (1, N, D), for all that works frame by frame.

Only what looks sideways in time has to know where a clip begins: attention takes the clips apart, the depthwise
convolution gets zeros between them. A batch of real recordings is more than half padding, which then costs nothing.

B batch, T frames, N frames of all clips together, D features of a frame.
"""

from itertools import groupby

import torch


class Packing:
    """Where each clip lies among the packed frames. Clips without a frame have no place there."""

    def __init__(self, frame_mask: torch.Tensor):
        """frame_mask: (B, T), true on the frames of each clip, which come first."""
        self.frame_mask = frame_mask
        self.lengths = [length for length in frame_mask.sum(-1).tolist() if length]
        self.longest = max(self.lengths, default=0)
        self._spread = {}  # by the gap between the clips

    def pad(self, packed: torch.Tensor) -> torch.Tensor:
        """(1, N, D) to (B, T, D), zero where masked."""
        padded = packed.new_zeros(*self.frame_mask.shape, packed.shape[-1])
        return padded.index_put((self.frame_mask,), packed.squeeze(0))

    def split(self, packed: torch.Tensor) -> list[torch.Tensor]:
        """(1, N, D) to the clips; neighbours of equal length come together, as (clips, length, D)."""
        parts, start = [], 0
        for length, run in groupby(self.lengths):
            count = len(list(run))
            parts.append(packed[0, start : start + count * length].unflatten(0, (count, length)))
            start += count * length
        return parts

    @staticmethod
    def join(parts: list[torch.Tensor]) -> torch.Tensor:
        """The parts of `split` to (1, N, D)."""
        frames = [part.flatten(0, 1) for part in parts]
        return (frames[0] if len(frames) == 1 else torch.cat(frames)).unsqueeze(0)

    def spread(self, packed: torch.Tensor, before: int, after: int) -> torch.Tensor:
        """Room for a kernel that sees so many frames before and after: (1, N, D) to (1, places, D), zero in between."""
        places, size = self._places(before, after)
        return packed.new_zeros(1, size, packed.shape[-1]).index_copy(1, places, packed)

    def gather(self, convolved: torch.Tensor, before: int, after: int) -> torch.Tensor:
        """What such a kernel makes of `spread`, (1, places - before - after, D), to the frames (1, N, D)."""
        return convolved.index_select(1, self._places(before, after)[0] - before)

    def _places(self, before, after):
        gap = max(before, after)
        if (before, after) not in self._spread:
            places, start = [], before
            for length in self.lengths:
                places.append(torch.arange(start, start + length))
                start += length + gap
            size = start - gap + after
            self._spread[before, after] = torch.cat(places).to(self.frame_mask.device), size
        return self._spread[before, after]


def in_one_row(features: torch.Tensor, frame_mask: torch.Tensor, multiple: int) -> tuple[torch.Tensor, torch.Tensor]:
    """All clips in one row of log-mel frames, for strided convolutions: (B, T, M) to (1, R, M), and its mask (1, R).

    Each clip begins at a multiple of `multiple` frames, so that strides fall on it as on the clip alone, and is
    followed by at least twice that many zeros, which is as far as the convolutions look.
    """
    places, start = [], 0
    for length in frame_mask.sum(-1).tolist():
        places.append(torch.arange(start, start + length))
        start += (-(-length // multiple) + 2) * multiple
    places = torch.cat(places).to(features.device)
    row = features.new_zeros(start, features.shape[-1]).index_copy(0, places, features[frame_mask])
    row_mask = torch.zeros(start, dtype=torch.bool, device=features.device).index_fill(0, places, True)
    return row.unsqueeze(0), row_mask.unsqueeze(0)
