"""Batches without padding: the valid frames of all clips one after the other, (1, N, D).

Everything that works frame by frame runs on packed frames. Only what looks sideways in time has to know where a clip
begins: attention takes the clips apart, and the depthwise convolution gets zeros between them. A batch of real
recordings is more than half padding, which then costs nothing.

B batch, T frames, N valid frames of all clips together, D features of a frame, M mel bins.
"""

from itertools import groupby

import torch


class Packing:
    """Where each clip is among the packed frames: in order of length, so that clips of equal length are neighbours.

    Clips without a valid frame are left out.

    Args:
        frame_mask: (B, T), true on the frames of each clip, which come first.
    """

    def __init__(self, frame_mask: torch.Tensor):
        self.frame_mask = frame_mask
        lengths = frame_mask.sum(-1).tolist()
        self.clips = sorted((clip for clip, length in enumerate(lengths) if length), key=lengths.__getitem__)
        self.lengths = [lengths[clip] for clip in self.clips]
        self.longest = max(self.lengths, default=0)
        self._gap_indices = {}  # by the context of the convolution

    def pad(self, packed: torch.Tensor) -> torch.Tensor:
        """(1, N, D) to (B, T, D), zero where masked."""
        padded = packed.new_zeros(*self.frame_mask.shape, packed.shape[-1])
        frames = flat_frame_indices(self.clips, self.lengths, self.frame_mask)
        return padded.flatten(0, 1).index_copy(0, frames, packed.squeeze(0)).view_as(padded)

    def split(self, packed: torch.Tensor) -> list[torch.Tensor]:
        """(1, N, D) to the clips; clips of equal length come together, as (clips, length, D)."""
        runs = [(length, len(list(run))) for length, run in groupby(self.lengths)]
        # One split, not a slice for each clip: the backward pass of a slice fills a gradient of all frames.
        parts = packed[0].split([length * count for length, count in runs])
        return [part.unflatten(0, (count, length)) for part, (length, count) in zip(parts, runs, strict=True)]

    @staticmethod
    def join(parts: list[torch.Tensor]) -> torch.Tensor:
        """The parts of `split` to (1, N, D)."""
        frames = [part.flatten(0, 1) for part in parts]
        return (frames[0] if len(frames) == 1 else torch.cat(frames)).unsqueeze(0)

    def scatter_with_gaps(self, packed: torch.Tensor, before: int, after: int) -> torch.Tensor:
        """Packed frames (1, N, D) to a row (1, R, D) with zeros between the clips.

        The zeros make room for a convolution that sees `before` frames before and `after` frames after each frame.
        """
        indices, size = self._indices_with_gaps(before, after)
        return packed.new_zeros(1, size, packed.shape[-1]).index_copy(1, indices, packed)

    def gather(self, convolved: torch.Tensor, before: int, after: int) -> torch.Tensor:
        """What the convolution makes of `scatter_with_gaps`, (1, R - before - after, D), to the frames (1, N, D)."""
        return convolved.index_select(1, self._indices_with_gaps(before, after)[0] - before)

    def _indices_with_gaps(self, before, after):
        gap = max(before, after)
        if (before, after) not in self._gap_indices:
            indices, start = [], before
            for length in self.lengths:
                indices.append(torch.arange(start, start + length))
                start += length + gap
            size = start - gap + after
            self._gap_indices[before, after] = torch.cat(indices).to(self.frame_mask.device), size
        return self._gap_indices[before, after]


def flat_frame_indices(clips: list[int], lengths: list[int], frame_mask: torch.Tensor) -> torch.Tensor:
    """Indices (N,), among B * T frames, of the first `lengths` frames of these clips, one clip after the other."""
    starts = [clip * frame_mask.shape[1] for clip in clips]
    frames = [torch.arange(start, start + length) for start, length in zip(starts, lengths, strict=True)]
    return torch.cat(frames).to(frame_mask.device)


def pack_with_gaps(
    features: torch.Tensor, frame_mask: torch.Tensor, clips: list[int], multiple: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """These clips in one row of log-mel frames, for strided convolutions: (B, T, M) to (1, R, M), and its mask (1, R).

    Each clip begins at a multiple of `multiple` frames, so that strides meet it as they meet the clip alone. At least
    twice that many zeros follow it, which is as far as the convolutions look.
    """
    lengths = frame_mask.sum(-1).tolist()
    lengths = [lengths[clip] for clip in clips]
    indices, start = [], 0
    for length in lengths:
        indices.append(torch.arange(start, start + length))
        start += (-(-length // multiple) + 2) * multiple
    indices = torch.cat(indices).to(features.device)
    frames = features.flatten(0, 1).index_select(0, flat_frame_indices(clips, lengths, frame_mask))
    row = features.new_zeros(start, features.shape[-1]).index_copy(0, indices, frames)
    row_mask = torch.zeros(start, dtype=torch.bool, device=features.device).index_fill(0, indices, True)
    return row.unsqueeze(0), row_mask.unsqueeze(0)
