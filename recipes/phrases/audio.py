"""Recordings at the recipe's sampling rate, trimmed to their speech."""

from pathlib import Path

import numpy as np

from modeling_audio_branch.audio_input import load_audio

SAMPLE_RATE = 8000  # Hz: half of the recordings are telephone speech
MIN_SECONDS, MAX_SECONDS = 0.3, 6.5  # of a training clip after trimming


def decode(path: Path) -> np.ndarray:
    """A file's samples (L,) at 8 kHz. G.722 is decoded with PyAV, since soundfile cannot read it.

    Raises:
        ValueError: The file has no samples.
    """
    if path.suffix != ".g722":
        return load_audio(path, SAMPLE_RATE).numpy()
    import av

    with av.open(str(path), format="g722") as container:
        frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    samples = np.concatenate(frames) if frames else np.zeros(0, np.int16)
    return load_audio(samples, SAMPLE_RATE, sampling_rate=16000).numpy()


def speech_span(samples: np.ndarray, max_decibels_below: float = 35.0) -> slice:
    """From the first to the last frame of 20 ms that is at most this far below the loudest frames (98 % quantile).

    One frame is kept on either side. Samples without such a frame are kept whole.
    """
    size = SAMPLE_RATE // 50
    if len(samples) < 2 * size:
        return slice(0, len(samples))
    power = np.square(samples[: len(samples) // size * size].reshape(-1, size)).mean(1)
    loud = np.flatnonzero(power > np.quantile(power, 0.98) * 10 ** (-max_decibels_below / 10))
    if not len(loud):
        return slice(0, len(samples))
    return slice(max(0, loud[0] - 1) * size, (loud[-1] + 2) * size)


def trim(samples: np.ndarray) -> np.ndarray:
    """The samples without the silence before and after the speech."""
    return samples[speech_span(samples)]


def trim_and_normalize(samples: np.ndarray) -> np.ndarray:
    """Trimmed to the speech and scaled to a peak of 1."""
    samples = trim(samples)
    return samples / max(1e-4, np.abs(samples).max(initial=0.0))


def read_speech(path: Path) -> np.ndarray:
    """A recording at 8 kHz, trimmed and normalized."""
    return trim_and_normalize(decode(path))
