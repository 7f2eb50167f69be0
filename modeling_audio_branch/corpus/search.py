"""The phrase in the frames of all recordings: hits, the best first.

n frames of the phrase, T frames of a recording, C components of a frame.
"""

import bisect
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .alignment import GAP, alignment_costs, best_ends, paths_to
from .settings import SearchSettings
from .store import Recording

ALIGNMENTS_PER_HIT = 2  # that are followed to their starts, as most of those of one place overlap
MIN_ALIGNMENTS = 60
OVERLAP = 0.3  # of the shorter of two hits, above which the worse one is left out


@dataclass(frozen=True)
class Hit:
    """A place where the phrase may be said.

    Args:
        file: Absolute path of the recording.
        start: In seconds.
        end: In seconds.
        score: Mean cosine similarity of the frames that are matched, at most 1.
        probability: That it is the same phrase, by the calibration of the model; None without one.
    """

    file: str
    start: float
    end: float
    score: float
    probability: float | None = None

    def to_dict(self) -> dict:
        return dataclasses.asdict(self)


class FrameMatrix:
    """The frames of several recordings one behind the other, with gaps between them that no alignment crosses.

    Args:
        recordings: One for each entry of `frames`.
        frames: (T, C) int8 each.
        frame_seconds: Duration of a frame.
    """

    def __init__(self, recordings: Sequence[Recording], frames: Sequence[torch.Tensor], frame_seconds: float):
        self.recordings, self.frame_seconds = list(recordings), frame_seconds
        self.starts, parts, width = [], [], frames[0].shape[1] if frames else 1
        total = 0
        for each in frames:
            self.starts.append(total)
            parts += [each, each.new_zeros(GAP, width)]
            total += len(each) + GAP
        self.frames = torch.cat(parts) if parts else torch.zeros(0, width, dtype=torch.int8)
        lengths = torch.cat([part.float().norm(dim=-1) for part in self.frames.split(2**16)])
        self.scale = torch.where(lengths > 0, 1 / lengths.clamp(min=1e-6), 0.0)

    def find(self, phrase: torch.Tensor, top: int, settings: SearchSettings) -> list[Hit]:
        """The `top` best places of a phrase, unit vectors (n, C), that don't overlap, the best first."""
        if not len(self.frames):
            return []
        costs = alignment_costs(phrase, self.frames, self.scale)
        hits, wanted = [], max(MIN_ALIGNMENTS, ALIGNMENTS_PER_HIT * top)
        ends = best_ends(costs, wanted, distance=max(1, len(phrase) // 4))
        paths = paths_to(phrase, self.frames, self.scale, ends)
        for path, cost in zip(paths.tolist(), costs[ends].tolist(), strict=True):
            hit = self._hit(path[0], path[-1], 1 - cost, len(phrase), settings)
            if not any(_overlap(hit, other) for other in hits):
                hits.append(hit)
        return hits[:top]

    def _hit(self, first, last, score, num_frames, settings):
        index = bisect.bisect_right(self.starts, first) - 1
        recording, offset = self.recordings[index], self.starts[index]
        start = (first - offset) * self.frame_seconds
        end = min((last + 1 - offset) * self.frame_seconds, recording.seconds)
        probability = settings.probability(score, num_frames)
        return Hit(recording.file, round(start, 3), round(end, 3), round(score, 4), probability)


def _overlap(first, second):
    shared = min(first.end, second.end) - max(first.start, second.start)
    return first.file == second.file and shared > OVERLAP * min(first.end - first.start, second.end - second.start)
