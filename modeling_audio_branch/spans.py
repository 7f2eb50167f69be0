"""Spans of a clip: from seconds to encoder frames, and their pooling by the rule of a whole clip.

B clips, N spans of a clip, M spans of all clips together, S segments, T encoder frames, D d_model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from numbers import Real

import torch

from .masks import length_mask, to_device

FRAMES_AT_ONCE = 2**15  # encoder frames of spans that are pooled at a time without gradients, to save memory
ROUNDING = 1e-6  # seconds that two times may differ by and be the same
FLOAT32 = 2**-22  # the same as a part of the time, for times in float32
AT_END = 1e-3  # seconds before the end of a clip, where a span has its last frame too
MIN_SECONDS = 0.001  # of windows and their hops
SLACK = 0.02  # seconds that a span may end after its clip, whose length is counted in whole log-mel frames


class SpanError(ValueError):
    """A span that can't be: the message names the clip, by the index that `of_clip` gives it."""

    def __init__(self, clip: int, problem: str):
        super().__init__(f"{problem} (of clip {clip}).")
        self.clip, self.problem = clip, problem

    def __reduce__(self):
        return SpanError, (self.clip, self.problem)

    def of_clip(self, clip: int) -> "SpanError":
        """The same of a clip with another index."""
        return SpanError(clip, self.problem)


@dataclass
class SlidingWindows:
    """Spans that slide over each clip; the last one ends where the clip does, and a shorter clip is one window.

    Args:
        window_seconds: Duration of a window.
        hop_seconds: From the start of one to the start of the next.
        last_is_shorter: The last window ends where the clip does by being shorter, not by starting earlier.
    """

    window_seconds: float
    hop_seconds: float
    last_is_shorter: bool = False

    def __post_init__(self):
        for name in ("window_seconds", "hop_seconds"):
            _check_seconds(name, getattr(self, name))

    def of(self, seconds: float) -> list[tuple[float, float]]:
        """The windows of a clip of this duration."""
        if seconds <= self.window_seconds:
            return [(0.0, seconds)] if seconds > 0 else []
        last = seconds - self.window_seconds
        starts = [index * self.hop_seconds for index in range(math.ceil((last - ROUNDING) / self.hop_seconds))]
        starts.append(len(starts) * self.hop_seconds if self.last_is_shorter else last)
        return [(start, min(start + self.window_seconds, seconds)) for start in starts]


@dataclass
class Spans:
    """Checked spans, on the host.

    Args:
        seconds: Start and end of each span of each clip.
        frames: Of all spans, clip by clip: the clip, its first encoder frame, and the one after its last.
        are_clips: Whether each clip has one span, which is all of it.
    """

    seconds: list[list[tuple[float, float]]]
    frames: list[tuple[int, int, int]]
    are_clips: bool

    def borders(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Start and end of all spans in seconds, (M,) each."""
        pairs = [pair for pairs in self.seconds for pair in pairs]
        return torch.tensor(pairs, dtype=torch.float32).view(-1, 2).to(device).unbind(-1)

    def are_valid(self, device: torch.device) -> torch.Tensor:
        """Whether each span has a frame, (M,): all have, but those of clips that are too short for one."""
        return to_device([int(first < stop) for _, first, stop in self.frames], device).bool()

    def by_clip(self, values: torch.Tensor) -> torch.Tensor:
        """What each span has, (M, ...), to (B, N, ...), zero where a clip has fewer spans."""
        counts = [len(pairs) for pairs in self.seconds]
        longest = max(counts, default=0)
        places = [clip * longest + index for clip, count in enumerate(counts) for index in range(count)]
        padded = values.new_zeros(len(counts) * longest, *values.shape[1:])
        padded = padded.index_copy(0, to_device(places, values.device), values)
        return padded.view(len(counts), longest, *values.shape[1:])


def spans_of_clips(spans, window_seconds, hop_seconds, segment_seconds, num_clips: int, is_batch: bool):
    """The arguments of `encode`: the spans of each clip as a list, [`SlidingWindows`], or None.

    Raises:
        ValueError: One sentence on arguments that exclude each other, or on spans of another number of clips.
    """
    choices = {"spans": spans, "window_seconds": window_seconds, "segment_seconds": segment_seconds}
    given = [name for name, value in choices.items() if value is not None]
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} were given; give one of them.")
    if window_seconds is not None:
        if hop_seconds is None and isinstance(window_seconds, Real):
            hop_seconds = max(MIN_SECONDS, window_seconds / 4)
        return SlidingWindows(window_seconds, hop_seconds)
    if hop_seconds is not None:
        raise ValueError("hop_seconds was given without window_seconds; give both.")
    if segment_seconds is not None:
        _check_seconds("segment_seconds", segment_seconds)
        return SlidingWindows(segment_seconds, segment_seconds, last_is_shorter=True)
    if spans is None:
        return None
    return _by_clip(spans, num_clips) if is_batch else [spans]


def _check_seconds(name, value):
    if isinstance(value, bool) or not isinstance(value, Real) or not MIN_SECONDS <= value < math.inf:
        raise ValueError(f"{name}={value!r:.40} was given; give a number of seconds, at least {MIN_SECONDS}.")


def find_spans(spans, clip_seconds: Sequence[float], num_frames: Sequence[int], frame_seconds: float | None) -> Spans:
    """Checks spans, and finds the encoder frames that each of them touches.

    Args:
        spans: Start and end in seconds, (B, N, 2), or B of (N, 2) for unlike numbers N; or [`SlidingWindows`].
        clip_seconds: The duration of each clip.
        num_frames: The encoder frames of each clip.
        frame_seconds: The duration of an encoder frame; None: an equal part of its clip.

    Raises:
        ValueError: One sentence on a span that is outside its clip, reversed, empty or NaN, or on another shape.
    """
    if isinstance(spans, SlidingWindows):
        spans = [spans.of(seconds) for seconds in clip_seconds]
    checked, frames, spans = [], [], _by_clip(spans, len(clip_seconds))
    for clip, (rows, seconds, count) in enumerate(zip(spans, clip_seconds, num_frames, strict=True)):
        checked.append([])
        for index, (start, given_end) in enumerate(_pairs(rows, clip)):
            end = min(given_end, seconds) if given_end <= seconds + SLACK else math.nan
            if not 0 <= start < end:
                problem = (
                    f"Span {index} is from {start:g} to {given_end:g} s, but must start before it ends, both inside"
                )
                raise SpanError(clip, f"{problem} the clip's 0 to {seconds:g} s")
            checked[-1].append((start, end))
            length = frame_seconds or seconds / max(1, count)
            rounding = (ROUNDING + FLOAT32 * end) / length
            first = max(0, min(math.floor(start / length + rounding), count - 1))
            stop = count if end > seconds - AT_END else max(math.ceil(end / length - rounding), first + 1)
            frames.append((clip, first, min(stop, count)))
    are_clips = frames == [(clip, 0, count) for clip, count in enumerate(num_frames)]
    return Spans(checked, frames, are_clips)


def _by_clip(spans, num_clips):
    try:
        spans = list(spans)
    except TypeError as error:
        kind = type(spans).__name__
        raise ValueError(f"spans is a {kind}; give pairs of start and end in seconds for each clip.") from error
    if len(spans) != num_clips:
        raise ValueError(f"spans has an entry for {len(spans)} clips; give one for each of the {num_clips}.")
    return spans


def _pairs(rows, clip):
    try:
        rows = torch.as_tensor(rows, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise SpanError(clip, "The spans are no numbers; give pairs of start and end in seconds") from error
    if not rows.numel():
        return []
    if rows.ndim != 2 or rows.shape[-1] != 2:
        raise SpanError(clip, f"The spans have the shape {tuple(rows.shape)}; give pairs of start and end in seconds")
    return [tuple(row) for row in rows.tolist()]


def pool_spans(pooling, hidden_states: torch.Tensor, frames: list[tuple[int, int, int]]):
    """Pools each span as if it were a clip of its frames: (B, T, D) to segments (M, S, D).

    Also gives the borders of the segments (M, S + 1), or None, as the pooling does.

    Spans of similar lengths are pooled together, so that memory grows with the frames inside spans.

    Args:
        pooling: A [`SegmentPooling`].
        hidden_states: (B, T, D).
        frames: See [`Spans`].
    """
    device, num_frames = hidden_states.device, hidden_states.shape[1]
    if not frames:
        return hidden_states.new_zeros(0, pooling.num_segments, hidden_states.shape[-1]), None
    flat = hidden_states.flatten(0, 1)
    order = sorted(range(len(frames)), key=lambda index: frames[index][2] - frames[index][1])
    pooled, borders = [], []
    for group in _groups(order, frames):
        clips, firsts, stops = to_device([list(each) for each in zip(*(frames[i] for i in group), strict=True)], device)
        longest = max(1, max(frames[i][2] - frames[i][1] for i in group))  # 0 for clips without a frame
        mask = length_mask(stops - firsts, longest)  # (m, longest)
        indices = (clips * num_frames + firsts)[:, None] + torch.arange(longest, device=device)
        inside = flat[indices.clamp(max=len(flat) - 1)].where(mask.unsqueeze(-1), 0.0)  # (m, longest, D)
        segments, _, borders_of_group = pooling(inside, mask)
        pooled.append(segments)
        borders.append(borders_of_group)
    back = to_device(sorted(range(len(order)), key=order.__getitem__), device)
    borders = None if borders[0] is None else torch.cat(borders).index_select(0, back)
    return torch.cat(pooled).index_select(0, back), borders


def _groups(order, frames):
    """The spans in groups of less than twice the shortest length, and of limited size where no gradient is needed."""

    def octave(index):
        return (frames[index][2] - frames[index][1]).bit_length()

    for _, group in groupby(order, key=octave):
        group = list(group)
        longest = frames[group[-1]][2] - frames[group[-1]][1]
        size = len(group) if torch.is_grad_enabled() else max(1, FRAMES_AT_ONCE // max(1, longest))
        yield from (group[start : start + size] for start in range(0, len(group), size))
