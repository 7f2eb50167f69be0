"""Dynamic time warping of MFCCs: the baseline that phrases are compared by, and what cuts words out of recordings."""

import sys
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from torchaudio.functional import compute_deltas
from torchaudio.transforms import MFCC

sys.path.insert(0, str(Path(__file__).parent))
from phrases_data import RATE

HOP = 80  # samples between frames
MEL = {"n_fft": 256, "win_length": 200, "hop_length": HOP, "n_mels": 26, "f_min": 80.0, "f_max": 3600.0}
COEFFICIENTS = MFCC(RATE, 13, melkwargs=MEL)


def mfcc(clip: np.ndarray) -> torch.Tensor:
    """Unit vectors (T, 39): 13 mean-free MFCCs below 3.6 kHz, with two deltas."""
    coefficients = COEFFICIENTS(torch.from_numpy(clip))
    deltas = compute_deltas(coefficients)
    all_three = torch.cat([coefficients - coefficients.mean(1, keepdim=True), deltas, compute_deltas(deltas)])
    return F.normalize(all_three.T, dim=-1)


def warping_cost(query: torch.Tensor, keys: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Cost (K,) of the best warping of (T, D) onto each of the padded keys (K, U, D), by the sum of the lengths."""
    distance = 1 - torch.einsum("td,kud->tuk", query, keys).numpy()  # (T, U, K)
    steps, width, count = distance.shape
    total = np.full((width + 1, count), np.inf)
    total[0] = 0.0
    for row in range(steps):
        before, total = total, np.full_like(total, np.inf)
        diagonal = np.minimum(before[:-1], before[1:])
        for column in range(width):
            total[column + 1] = distance[row, column] + np.minimum(diagonal[column], total[column])
    ends = total[lengths.numpy(), np.arange(count)]
    return torch.from_numpy(ends) / (steps + lengths)


def path_of(distance: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the cheapest monotone path from corner to corner of distances (T, U)."""
    distance = distance.double().numpy()
    total = np.full((len(distance) + 1, distance.shape[1] + 1), np.inf)
    total[0, 0] = 0.0
    for row, costs in enumerate(distance):
        entered = np.minimum(total[row, :-1], total[row, 1:])  # from the row before, straight or aslant
        sums = np.cumsum(costs)
        # Staying in the row from column k to j costs sums[j] - sums[k - 1]: the cheapest k for each j.
        total[row + 1, 1:] = sums + np.minimum.accumulate(entered - sums + costs)
    row, column = distance.shape
    path = []
    while row and column:
        path.append((row - 1, column - 1))
        steps = {(row - 1, column - 1): 0, (row - 1, column): 0, (row, column - 1): 0}
        row, column = min(steps, key=lambda place: total[place])
    return tuple(np.array(path[::-1]).T)
