"""Which frames of a video belong to a segment of the clip, and which of them are looked at, never at random.

B clips, F frames, S segments, K sampled frames of a segment. The times of a frame are its start and its end, in
seconds on the clock of the audio.

- A frame belongs to the segment that its middle lies in. The frames of a segment then start and end within half a frame
  of the segment. A segment without one, shorter than a frame, has the frame whose middle is next to its own.
- Of n frames, sample k is number floor((2 k + 1) n / (2 K)): the middles of K equal parts. Fewer frames are repeated.
"""

import torch

SLACK = 1e-4  # seconds by which rounding may move the middle of a frame that lies on a border


def frames_of_segments(
    frame_times: torch.Tensor, frame_mask: torch.Tensor, segment_times: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """First frame of each segment and the frame after its last, (B, S) each.

    Args:
        frame_times: (B, F, 2) seconds, in order.
        frame_mask: (B, F), true on valid frames, which come first.
        segment_times: (B, S, 2) seconds.
    """
    middles = frame_times.mean(-1).masked_fill(~frame_mask, torch.inf).unsqueeze(1)  # (B, 1, F)
    first = (middles < segment_times[..., :1] - SLACK).sum(-1)  # (B, S)
    stop = (middles < segment_times[..., 1:] - SLACK).sum(-1)
    nearest = (middles - segment_times.mean(-1, keepdim=True)).abs().argmin(-1)
    is_empty = stop <= first
    first = torch.where(is_empty, nearest, first)
    return first, torch.where(is_empty, nearest + 1, stop)


def sampled_frames(first: torch.Tensor, stop: torch.Tensor, count: int) -> torch.Tensor:
    """The indices (B, S, K) of `count` frames of each segment."""
    steps = 2 * torch.arange(count, device=first.device) + 1
    return first.unsqueeze(-1) + steps * (stop - first).unsqueeze(-1) // (2 * count)


def times_of_frames(frame_times: torch.Tensor, first: torch.Tensor, stop: torch.Tensor) -> torch.Tensor:
    """Start of the first frame of each segment and end of its last, (B, S, 2) seconds."""
    starts, ends = frame_times.unbind(-1)  # (B, F) each
    return torch.stack([starts.gather(1, first), ends.gather(1, stop - 1)], dim=-1)


def thin_frames(
    frame_times: torch.Tensor, segment_times: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the sampling of one video leaves of it, so that nothing else has to be kept in memory.

    A frame that stays lasts until the next one that stays, inside the frames of its segment. Sampling again, with the
    same number for each segment, then finds the same frames. The frames of a segment all stay where one of them stands
    in for the frames of a segment that has none, as the last frame does where the audio is longer than the video.

    Args:
        frame_times: (F, 2) seconds.
        segment_times: (S, 2) seconds.
        count: Frames of a segment that stay, at most.

    Returns:
        The indices (N,) of the frames that stay, and their times (N, 2).
    """
    valid = torch.ones(1, len(frame_times), dtype=torch.bool)
    bounds = frames_of_segments(frame_times[None], valid, segment_times[None])
    bounds = [*zip(*(each[0].tolist() for each in bounds), strict=True)]
    middles = frame_times.mean(-1).tolist()
    stand_ins, kept = set(), {}
    for (first, _), (start, end) in zip(bounds, segment_times.tolist(), strict=True):
        if not start - SLACK <= middles[first] < end - SLACK:
            stand_ins.add(first)
    for first, stop in bounds:
        if stop - first <= count or stand_ins.intersection(range(first, stop)):
            kept |= {index: (frame_times[index, 0], frame_times[index, 1]) for index in range(first, stop)}
            continue
        indices = sampled_frames(torch.tensor(first), torch.tensor(stop), count).tolist()
        starts = [frame_times[index, 0] for index in [first, *indices[1:]]]
        ends = [*starts[1:], frame_times[stop - 1, 1]]
        kept |= dict(zip(indices, zip(starts, ends, strict=True), strict=True))
    indices = sorted(kept)
    return torch.tensor(indices), torch.stack([torch.stack(kept[index]) for index in indices])
