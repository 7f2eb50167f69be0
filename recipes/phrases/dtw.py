"""Dynamic time warping of MFCCs: a baseline for retrieval, and the alignment that cuts words out of recordings."""

import librosa
import numpy as np
import torch
from torch.nn import functional as F
from torchaudio.functional import compute_deltas
from torchaudio.transforms import MFCC

from .audio import SAMPLE_RATE

HOP = 80  # samples between frames
MEL = {"n_fft": 256, "win_length": 200, "hop_length": HOP, "n_mels": 26, "f_min": 80.0, "f_max": 3600.0}
COEFFICIENTS = MFCC(SAMPLE_RATE, 13, melkwargs=MEL)


def mfcc(samples: np.ndarray) -> torch.Tensor:
    """Unit vectors (T, 39) of samples (L,): 13 mean-free MFCCs below 3.6 kHz with their first and second deltas."""
    coefficients = COEFFICIENTS(torch.from_numpy(samples))
    deltas = compute_deltas(coefficients)
    features = torch.cat([coefficients - coefficients.mean(1, keepdim=True), deltas, compute_deltas(deltas)])
    return F.normalize(features.T, dim=-1)


def cosine_distance(first: torch.Tensor, second: torch.Tensor) -> np.ndarray:
    """Distances (T, U) of the frames of (T, D) and (U, D) unit vectors."""
    return (1 - first @ second.T).double().numpy()


def dtw_path(distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the cheapest monotone path through distances (T, U), from corner to corner."""
    _, path = librosa.sequence.dtw(C=distance)
    rows, columns = path[::-1].T  # librosa lists it from the end
    return rows, columns


def dtw_cost(distance: np.ndarray) -> float:
    """Cost of the cheapest path through distances (T, U), divided by T + U."""
    total = librosa.sequence.dtw(C=distance, backtrack=False)
    return total[-1, -1] / sum(distance.shape)
