"""Augmentation of training clips, (L,) float samples at 8 kHz.

The order of the random draws is part of the recipe: another order makes other training data.
"""

import io

import numpy as np
import soundfile
import torch
from torchaudio.functional import add_noise

from .audio import SAMPLE_RATE

SPEED, PADDING, CUT, CLICK, BAND, ROOM, NOISE, CODEC, PAUSE = range(9)
PROBABILITIES = (0.8, 0.5, 0.25, 0.15, 0.6, 0.25, 0.6, 0.2, 0.2)  # of the nine, in this order


def augment(
    samples: np.ndarray, generator: np.random.Generator, around: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[np.ndarray, int, int]:
    """Changes speed (with pitch and vocal tract), pauses, edges, surroundings, channel, noise and codec at random.

    Args:
        samples: A clip (L,).
        generator: Of all random choices.
        around: Two other clips, of which a piece is heard before and another after this one.

    Returns:
        Samples (L',), the first one of the clip in them, and the one after its last.
    """
    chosen = generator.random(len(PROBABILITIES)) < PROBABILITIES
    if chosen[SPEED]:
        samples = change_speed(samples, generator)
    if chosen[PAUSE]:
        samples = insert_pause(samples, generator)
    samples = samples * generator.uniform(0.1, 1.0)
    if chosen[PADDING]:  # as if trimmed too late at either end
        samples = pad_ends(samples, generator)
    if chosen[CUT]:  # as if trimmed too early
        early, late = (generator.uniform(0, 0.05, 2) * SAMPLE_RATE).astype(int)
        samples = samples[min(early, len(samples) // 10) : len(samples) - min(late, len(samples) // 10)]
    first, last = 0, len(samples)
    if around:
        samples, first, last = surround(samples, around, generator)
    if chosen[CLICK]:
        samples = add_click(samples, generator)
    samples = apply_channel(samples, generator, chosen[BAND], chosen[ROOM])
    if chosen[NOISE]:
        samples = add_random_noise(samples, generator)
    if chosen[CODEC]:
        samples = encode_gsm(samples)
    return samples.astype(np.float32), first, min(last, len(samples))


def change_speed(samples: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Resamples at a speed that varies over the clip, since people do not stretch the same syllables."""
    knots = 2 + len(samples) // (SAMPLE_RATE // 4)
    speeds = generator.uniform(0.8, 1.25) * np.exp(0.12 * generator.standard_normal(knots))
    speeds = np.interp(np.linspace(0, knots - 1, len(samples)), np.arange(knots), speeds)
    times = np.cumsum(1 / speeds)  # of each sample, in samples of the result
    return np.interp(np.arange(times[0], times[-1]), times, samples).astype(np.float32)


def surround(samples: np.ndarray, around: tuple[np.ndarray, np.ndarray], generator: np.random.Generator):
    """Puts a piece of up to 0.8 s of other clips before and after a clip, with a pause between; each in 4 of 5 cases.

    Returns:
        Samples (L',), the clip's first one in them, and the one after its last.
    """
    peak = np.abs(samples).max(initial=0.0)
    before, after = (
        clip[: int(generator.uniform(0.1, 0.8) * SAMPLE_RATE)] * peak * generator.uniform(0.5, 1.2)
        if generator.random() < 0.8
        else np.zeros(0, np.float32)
        for clip in (around[0][::-1], around[1])  # the end of the one, the start of the other
    )
    pauses = [np.zeros(int(generator.uniform(0.02, 0.4) * SAMPLE_RATE), np.float32) for _ in range(2)]
    first = len(before) + len(pauses[0])
    return np.concatenate([before[::-1], pauses[0], samples, pauses[1], after]), first, first + len(samples)


def insert_pause(samples: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Inserts 0.05 to 0.25 s of silence at the quietest frame of the middle; clips under 0.8 s stay as they are."""
    size = SAMPLE_RATE // 50
    power = np.square(samples[: len(samples) // size * size].reshape(-1, size)).sum(1)
    if len(power) < 40:
        return samples
    middle = slice(len(power) // 5, -len(power) // 5)
    position = (middle.start + power[middle].argmin()) * size + size // 2
    return np.insert(samples, position, np.zeros(int(generator.uniform(0.05, 0.25) * SAMPLE_RATE), np.float32))


def pad_ends(samples: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Adds 0 to 0.4 s to both ends, little more often than much: silence, or as often noise of -40 to -10 dB."""
    before, after = (0.4 * generator.random(2) ** 2 * SAMPLE_RATE).astype(int)
    level = np.sqrt(np.square(samples).mean()) * 10 ** (generator.uniform(-40, -10) / 20)
    noise = level * (generator.random() < 0.5) * generator.standard_normal(before + after)
    return np.concatenate([noise[:before], samples, noise[before:]])


def add_click(samples: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Adds a decaying burst of noise to the start, as some telephone recordings have."""
    length = min(len(samples), int(generator.uniform(0.02, 0.1) * SAMPLE_RATE))
    click = generator.standard_normal(length) * np.exp(-np.linspace(0, 6, length))
    samples = samples.copy()
    samples[:length] += np.abs(samples).max() * generator.uniform(0.2, 1.0) * click
    return samples


def apply_channel(samples: np.ndarray, generator: np.random.Generator, band: bool, room: bool) -> np.ndarray:
    """Filters with a random band and frequency response (`band`) and a random reverberation (`room`), in one FFT."""
    if not (band or room):
        return samples
    length = -(-(len(samples) + SAMPLE_RATE // 4) // 256) * 256  # a multiple of 256: an FFT of prime length is slow
    frequencies = np.fft.rfftfreq(length, 1 / SAMPLE_RATE)
    spectrum = np.fft.rfft(samples, length)
    if band:
        low, high = generator.uniform(0, 350), generator.uniform(2500, 4000)
        decibels = np.interp(frequencies, np.linspace(0, SAMPLE_RATE / 2, 7), generator.uniform(-8, 8, 7))
        spectrum *= (frequencies >= low) & (frequencies <= high)
        spectrum *= 10 ** (decibels / 20)
    if room:
        size = SAMPLE_RATE // 4
        echoes = generator.standard_normal(size) * np.exp(-np.arange(size) / generator.uniform(100, 500))
        echoes *= generator.uniform(0.1, 0.6) / np.sqrt(np.square(echoes).sum())
        echoes[0] = 1.0
        spectrum *= np.fft.rfft(echoes, length)
    return np.fft.irfft(spectrum, length)[: len(samples)]


def add_random_noise(samples: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Adds white noise, or noise with more low frequencies, at a signal-to-noise ratio of 5 to 35 dB."""
    noise = generator.standard_normal(len(samples))
    if generator.random() < 0.5:
        noise = np.cumsum(noise) - np.convolve(np.cumsum(noise), np.ones(64) / 64, "same")
    signal_to_noise = torch.tensor(generator.uniform(5, 35), dtype=torch.float64)
    return add_noise(torch.from_numpy(samples).double(), torch.from_numpy(noise), signal_to_noise).numpy()


def encode_gsm(samples: np.ndarray) -> np.ndarray:
    """Encodes as GSM 06.10, the codec of the telephone, and decodes again."""
    file = io.BytesIO()
    soundfile.write(file, samples / max(1.0, np.abs(samples).max()), SAMPLE_RATE, format="WAV", subtype="GSM610")
    file.seek(0)
    return soundfile.read(file, dtype="float32")[0][: len(samples)]
