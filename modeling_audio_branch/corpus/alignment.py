"""Where a phrase is said: the alignments of its frames with those of recordings that cost least.

Each frame of the phrase is matched with a frame of the recording, which is 0, 1 or 2 frames after that of the frame
before: a subsequence dynamic time warping (Müller 2007, section 4.4) in which every path has as many steps as the
phrase has frames, so that long paths cost no more than short ones, and nothing is left to be divided by a length.
Speech may be up to twice as slow as the phrase, and faster by as much as it wants to be.

n frames of the phrase, T frames of all recordings one behind the other, C components of a frame, K ends of alignments.
"""

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
    num_steps, total = len(phrase), len(frames)
    costs = torch.empty(total)
    before = LONGEST_STEP * num_steps  # frames that an alignment reaches back
    for start in range(0, total, CHUNK_FRAMES):
        first, stop = max(0, start - before), min(total, start + CHUNK_FRAMES)
        local = _frame_costs(phrase, frames[first:stop], scale[first:stop])  # (n, t)
        # Frames from -2 on, so that a step from before the chunk costs much.
        path = F.pad(local[0], (LONGEST_STEP, 0), value=GAP_COST * num_steps)
        best = torch.empty_like(local[0])
        for step in range(1, num_steps):
            torch.minimum(path[2:], path[1:-1], out=best)
            torch.minimum(best, path[:-2], out=best)
            torch.add(best, local[step], out=path[2:])
        costs[start:stop] = path[2 + start - first :]
    return costs / num_steps


def _frame_costs(phrase, frames, scale):
    """(n, t)"""
    costs = 1 - (phrase @ frames.float().T) * scale
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
