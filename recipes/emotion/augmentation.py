"""Augmentation of training clips: speed, noise and a limited bandwidth, drawn anew for each clip."""

import torch
from torch.nn import functional as F
from torchaudio.functional import add_noise, speed

SPEED_PROBABILITY = 0.5
SPEEDS = (0.9, 1.1)
NOISE_PROBABILITY = 0.5
SNR_DB = (10.0, 35.0)
BANDWIDTH_PROBABILITY = 0.3
SMALLEST_BANDWIDTH = 0.4  # share of the spectrum, from 0 Hz upwards


class Augmentation:
    """Samples (L,) at `rate` Hz to augmented samples (L',)."""

    def __init__(self, rate: int):
        self.rate = rate

    def __call__(self, samples: torch.Tensor) -> torch.Tensor:
        # All numbers are drawn at once, so that the random state afterwards depends on the noise only.
        change_speed, which_speed, add, snr, limit, bandwidth = torch.rand(6).tolist()
        if change_speed < SPEED_PROBABILITY:
            samples = speed(samples, self.rate, SPEEDS[which_speed < 0.5])[0]
        if add < NOISE_PROBABILITY:
            lowest, highest = SNR_DB
            decibels = torch.tensor(lowest + (highest - lowest) * snr)
            samples = add_noise(samples, torch.randn_like(samples), decibels)
        if limit < BANDWIDTH_PROBABILITY:
            samples = limit_bandwidth(samples, SMALLEST_BANDWIDTH + (1 - SMALLEST_BANDWIDTH) * bandwidth)
        return samples


def limit_bandwidth(samples: torch.Tensor, share: float) -> torch.Tensor:
    """Removes all but the lowest `share` of the spectrum, as a telephone or a lossy file does; (L,) to (L,)."""
    spectrum = torch.fft.rfft(samples)
    bins = int(len(spectrum) * share)
    return torch.fft.irfft(F.pad(spectrum[:bins], (0, len(spectrum) - bins)), len(samples))
