"""Where a phrase is said: the alignments of its frames with those of recordings that cost least.

Each frame of the phrase is matched with a frame of the recording, which is 0, 1 or 2 frames after that of the frame
before: a subsequence dynamic time warping (Müller 2007, section 4.4) in which every path has as many steps as the
phrase has frames, so that long paths cost no more than short ones, and nothing is left to be divided by a length.
Speech may be up to twice as slow as the phrase, and faster by as much as it wants to be.

n frames of the phrase, T frames of all recordings one behind the other, C components of a frame, K ends of alignments.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch.nn import functional as F

GAP = 2  # frames between two recordings, over which no step leads
GAP_COST = 1e4  # of a frame there
LARGEST_COST = 2.5  # the mean of a path without gaps is at most 2, that of others more than this
LONGEST_STEP = 2  # frames
CHUNK_FRAMES = 2**14  # frames of recordings whose costs fit in a CPU's cache


def alignment_costs(phrase: torch.Tensor, frames: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """The mean cost (T,) of the best alignment that ends at each frame.

    The cost of two frames is 1 less their cosine similarity.

    Args:
        phrase: Unit vectors (n, C), float32.
        frames: (T, C), int8.
        scale: (T,) the inverse length of each frame; 0 between recordings.
    """
    costs = torch.empty(len(frames))

    def align(start):
        stop = start + CHUNK_FRAMES
        first = max(0, start - LONGEST_STEP * len(phrase))  # an alignment reaches back so far
        costs[start:stop] = _chunk_costs(phrase, frames[first:stop], scale[first:stop])[start - first :]

    # Operations on a chunk are too small for torch to share them among its threads.
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        list(threads.map(align, range(0, len(frames), CHUNK_FRAMES)))
    return costs / len(phrase)


def _chunk_costs(phrase, frames, scale):
    """Sums (t,) of the costs of the best alignments that end at each frame of a chunk."""
    local = _frame_costs(phrase, frames, scale)  # (n, t)
    # Frames from -2 on, so that a step from before the chunk costs much. NumPy starts small operations faster.
    path = F.pad(local[0], (LONGEST_STEP, 0), value=GAP_COST * len(phrase)).numpy()
    best = np.empty_like(path[2:])
    for cost in local[1:].numpy():
        np.minimum(path[2:], path[1:-1], out=best)
        np.minimum(best, path[:-2], out=best)
        np.add(best, cost, out=path[2:])
    return torch.from_numpy(path[2:])


def _frame_costs(phrase, frames, scale):
    """(n, t)"""
    costs = (phrase @ frames.float().T).mul_(-scale).add_(1)
    return costs.masked_fill_(scale == 0, GAP_COST)


def best_ends(costs: torch.Tensor, num_ends: int, distance: int) -> torch.Tensor:
    """The frames (K,) at which alignments end that cost least within `distance` frames around, the best first."""
    lowest = -F.max_pool1d(-costs[None, None], 2 * distance + 1, stride=1, padding=distance)[0, 0]
    ends = ((costs == lowest) & (costs < LARGEST_COST)).nonzero().flatten()
    return ends[costs[ends].argsort(stable=True)[:num_ends]]


def paths_to(phrase: torch.Tensor, frames: torch.Tensor, scale: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """The frames (K, n) that those of the phrase are matched with by the best alignments that end at `ends` (K,).

    The other arguments are those of `alignment_costs`.
    """
    num_steps = len(phrase)
    reach = LONGEST_STEP * num_steps
    indices = ends[:, None] - torch.arange(reach - 1, -1, -1)  # (K, reach)
    inside = indices >= 0
    flat = indices.clamp(min=0).flatten()
    local = _frame_costs(phrase, frames[flat], scale[flat]).unflatten(-1, indices.shape)  # (n, K, reach)
    local = local.masked_fill(~inside, GAP_COST)
    total, steps = local[0], []
    for step in range(1, num_steps):
        before = F.pad(total, (LONGEST_STEP, 0), value=GAP_COST * num_steps)
        choices = torch.stack([before[:, LONGEST_STEP - back : before.shape[1] - back] for back in range(3)])
        best, chosen = choices.min(0)  # (K, reach)
        steps.append(chosen)
        total = best + local[step]
    column = torch.full((len(ends), 1), reach - 1)
    path = [column]
    for chosen in reversed(steps):
        column = column - chosen.gather(1, column)
        path.append(column)
    return indices.gather(1, torch.cat(path[::-1], dim=1))
