"""Recordings at the recipe's sampling rate, trimmed to their speech."""

from pathlib import Path

import numpy as np
import torch

from modeling_audio_branch.audio_input import load_audio
from modeling_audio_branch.trimming import sound_span

SAMPLE_RATE = 8000  # Hz: half of the recordings are telephone speech
TOP_DB = 35  # below the loud frames of a clip: where it is trimmed
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


def speech_span(samples: np.ndarray) -> slice:
    """Where the speech is, without the silence before and after it."""
    return slice(*sound_span(torch.from_numpy(samples), SAMPLE_RATE, TOP_DB))


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
