"""Finds when the words of a recording begin, from synthesized clips of the same text whose word starts are known."""

import math

import numpy as np
import torch

from .audio import MIN_SECONDS, SAMPLE_RATE, speech_span
from .dtw import HOP, cosine_distance, dtw_path, mfcc
from .espeak import Espeak

MAX_DISAGREEMENT = 0.05  # seconds between the second and the second-last voice's estimate of a word's start


def map_times(times: list[float], synthesized: torch.Tensor, recording: torch.Tensor) -> list[float]:
    """Maps times of a synthesized clip to a recording of the same text (seconds), by the MFCCs (T, D) of both."""
    rows, columns = dtw_path(cosine_distance(synthesized, recording))
    return np.interp(times, rows * HOP / SAMPLE_RATE, columns * HOP / SAMPLE_RATE).tolist()


def word_starts(
    espeak: Espeak, recording: np.ndarray, text: str, positions: list[int], language: str, voices: list[str]
) -> tuple[list[float], list[bool]]:
    """When words begin in a recording of a text, by the median over synthesized clips of several voices.

    Args:
        espeak: Synthesizes the text.
        recording: Samples (L,), trimmed to the speech.
        text: What is said.
        positions: Of each word's first character in the text.
        language: Of the text.
        voices: Variants of espeak-ng's voices.

    Returns:
        The start of each word in seconds, and whether it is certain. It is not where a voice speaks the word together
        with others, and where the voices disagree.
    """
    estimates, coefficients = [], mfcc(recording)
    for voice in voices:
        clip = espeak.synthesize(text, language + voice, words_per_minute=160, pitch=50)
        span = speech_span(clip.samples)
        if len(clip.samples[span]) < MIN_SECONDS * SAMPLE_RATE:  # a text without words
            return [0.0] * len(positions), [False] * len(positions)
        known = {}
        for position, seconds in clip.word_starts:
            known.setdefault(position, max(0.0, seconds - span.start / SAMPLE_RATE))
        times = [known.get(position, math.nan) for position in positions]
        estimates.append(map_times(times, mfcc(clip.samples[span]), coefficients))
    estimates = np.sort(estimates, axis=0)  # (voices, words), unknown ones (NaN) last
    is_certain = np.isfinite(estimates[-1]) & (estimates[-2] - estimates[1] <= MAX_DISAGREEMENT)
    return estimates[len(voices) // 2].tolist(), is_certain.tolist()
