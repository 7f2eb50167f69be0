"""Batches without padding: the frames of all clips one behind the other, (1, N, D), for all that works frame by frame.

Only what looks sideways in time has to know where a clip begins: attention takes the clips apart, the depthwise
convolution gets zeros between them. A batch of real recordings is more than half padding, which then costs nothing.

B batch, T frames, N frames of all clips together, D features of a frame.
"""

from itertools import groupby

import torch


class Packing:
    """Where each clip lies among the packed frames: the shortest first, so that equal ones are neighbours.

    Clips without a frame have no place there.
    """

    def __init__(self, frame_mask: torch.Tensor):
        """frame_mask: (B, T), true on the frames of each clip, which come first."""
        self.frame_mask = frame_mask
        lengths = frame_mask.sum(-1).tolist()
        self.clips = sorted((clip for clip, length in enumerate(lengths) if length), key=lengths.__getitem__)
        self.lengths = [lengths[clip] for clip in self.clips]
        self.longest = max(self.lengths, default=0)
        self._spread = {}  # by the gap between the clips

    def pad(self, packed: torch.Tensor) -> torch.Tensor:
        """(1, N, D) to (B, T, D), zero where masked."""
        padded = packed.new_zeros(*self.frame_mask.shape, packed.shape[-1])
        frames = flat_frame_indices(self.clips, self.lengths, self.frame_mask)
        return padded.flatten(0, 1).index_copy(0, frames, packed.squeeze(0)).view_as(padded)

    def split(self, packed: torch.Tensor) -> list[torch.Tensor]:
        """(1, N, D) to the clips; those of equal length come together, as (clips, length, D)."""
        runs = [(length, len(list(run))) for length, run in groupby(self.lengths)]
        # Not a slice for each, whose backward pass would fill and add up as many gradients of all frames.
        parts = packed[0].split([length * count for length, count in runs])
        parts = [part.unflatten(0, (count, length)) for part, (length, count) in zip(parts, runs, strict=True)]
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


def flat_frame_indices(clips: list[int], lengths: list[int], frame_mask: torch.Tensor) -> torch.Tensor:
    """Indices (N,) of the first `lengths` frames of these clips, one clip behind the other, in B * T frames."""
    starts = [clip * frame_mask.shape[1] for clip in clips]
    frames = [torch.arange(start, start + length) for start, length in zip(starts, lengths, strict=True)]
    return torch.cat(frames).to(frame_mask.device)


def pack_with_gaps(
    features: torch.Tensor, frame_mask: torch.Tensor, clips: list[int], multiple: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """These clips in one row of log-mel frames, for strided convolutions: (B, T, M) to (1, R, M), and its mask (1, R).

    Each clip begins at a multiple of `multiple` frames, so that strides fall on it as on the clip alone, and is
    followed by at least twice that many zeros, which is as far as the convolutions look.
    """
    lengths = frame_mask.sum(-1).tolist()
    lengths = [lengths[clip] for clip in clips]
    places, start = [], 0
    for length in lengths:
        places.append(torch.arange(start, start + length))
        start += (-(-length // multiple) + 2) * multiple
    places = torch.cat(places).to(features.device)
    frames = features.flatten(0, 1).index_select(0, flat_frame_indices(clips, lengths, frame_mask))
    row = features.new_zeros(start, features.shape[-1]).index_copy(0, places, frames)
    row_mask = torch.zeros(start, dtype=torch.bool, device=features.device).index_fill(0, places, True)
    return row.unsqueeze(0), row_mask.unsqueeze(0)
