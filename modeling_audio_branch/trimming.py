"""Silence before and after the sound of a clip, found by its energy."""

import torch

FRAME_SECONDS = 0.02
LOUD_QUANTILE = 0.98  # of the frames' powers: the reference, which a click does not move


def sound_span(waveform: torch.Tensor, sample_rate: int, top_db: float) -> tuple[int, int]:
    """From the first to the last frame of 20 ms that is at most `top_db` below the loud ones, and a frame on each side.

    Loud is the 98 % quantile of the frames' powers. (librosa.effects.trim compares with the maximum, which one click
    may be.)

    Args:
        waveform: Samples (L,).
        sample_rate: In Hz.
        top_db: Decibels.

    Returns:
        The first sample, and the one after the last. A clip without such a frame, such as digital silence, is kept
        whole.
    """
    size, whole = round(FRAME_SECONDS * sample_rate), (0, len(waveform))
    if len(waveform) < 2 * size:
        return whole
    power = waveform[: len(waveform) // size * size].unflatten(0, (-1, size)).double().square().mean(1)
    loud = (power > power.quantile(LOUD_QUANTILE) * 10 ** (-top_db / 10)).nonzero().flatten().tolist()
    if not loud:
        return whole
    return max(0, loud[0] - 1) * size, min((loud[-1] + 2) * size, len(waveform))
