"""Where speech begins and ends in a clip, by its energy."""

import torch

FRAMES_PER_SECOND = 50
LOUD = 0.98  # quantile of the frames' powers that counts as loud
QUIET = 0.05  # and as the noise
NOISE_MARGIN = 4.0  # decibels that speech is above the noise
NOISE_LIMIT = 20.0  # decibels below the loud frames, above which no noise is taken for granted


def speech_span(samples: torch.Tensor, sampling_rate: int, decibels: float) -> tuple[int, int]:
    """The first sample of the speech, and the one after its last.

    Speech is what is at most `decibels` below the loud frames of 20 ms, and 4 dB above the quietest ones if these are
    20 dB below the loud ones: so both silence and steady noise at the ends are left out. One frame is kept on either side.
    A clip without such a frame is speech as a whole.

    Args:
        samples: (L,).
        sampling_rate: In Hz.
        decibels: Of the quietest speech, below the loud frames.
    """
    size = sampling_rate // FRAMES_PER_SECOND
    if len(samples) < 2 * size:
        return 0, len(samples)
    power = samples[: len(samples) // size * size].view(-1, size).square().mean(1)
    loud, quiet = power.quantile(LOUD), power.quantile(QUIET)
    noise = torch.minimum(quiet * 10 ** (NOISE_MARGIN / 10), loud * 10 ** (-NOISE_LIMIT / 10))
    speech = (power > torch.maximum(loud * 10 ** (-decibels / 10), noise)).nonzero().flatten().tolist()
    if not speech:
        return 0, len(samples)
    return max(0, speech[0] - 1) * size, min(len(samples), (speech[-1] + 2) * size)
