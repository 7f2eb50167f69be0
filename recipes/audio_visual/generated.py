"""A generated audio-visual set on real speech, whose labels need both sides.

RAVDESS is not available everywhere. Here the speech is real, and the pictures are drawn: a mouth in front of a wall.

- The mouth opens with the energy of the speech, or against it. At any moment, and over the whole clip, both openings
  are distributed alike, since the energy is taken as its rank among the frames of the clip.
- The wall is light or dark, and the speech is clear or muffled. All four combinations are equally frequent.

The task `both` has four labels: whether the mouth moves with or against the speech, times whether a light wall goes
with clear speech (and a dark one with muffled speech) or not. Neither side tells anything of either. The second half of
the label can be read from the means of both sides; the first needs to know when the mouth was open.

The task `either` has two labels: clear speech and a light wall, or muffled speech and a dark wall. Each side tells it
alone.

F frames, H x W pixels, L samples.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from modeling_audio_branch.audio_input import load_audio

RATE = 8000  # Hz
FRAME_RATE = 25  # frames per second
SIZE = 16  # height and width of a frame in pixels
SECONDS = (1.6, 2.4)  # shortest and longest clip
SMOOTHING = 3  # frames, the standard deviation of the window that smooths the energy
MUFFLED_HZ = 800  # muffled speech has nothing above
LABELS = {
    "both": ["with, fitting", "with, unfitting", "against, fitting", "against, unfitting"],
    "either": ["clear and light", "muffled and dark"],
}


@dataclass
class GeneratedClip:
    """A clip of the set.

    Args:
        frames: (F, H, W, 3) uint8, at FRAME_RATE.
        samples: (L,) float32 at RATE.
        opening: (F,) how far the mouth is open, 0 to 1.
        label: Its number in LABELS.
    """

    frames: torch.Tensor
    samples: torch.Tensor
    opening: np.ndarray
    label: int


def read_speech(paths: list[Path], most_seconds: float = 1200.0) -> np.ndarray:
    """The speech of several files one behind the other, without silence at their ends, at RATE, with a power of 1."""
    pieces, length = [], 0
    for path in paths:
        samples = load_audio(path, RATE).numpy()
        loud = np.flatnonzero(np.abs(samples) > 0.1 * np.abs(samples).max(initial=1e-4))
        if len(loud) < RATE // 4:
            continue
        piece = samples[loud[0] : loud[-1] + 1]
        pieces.append(piece / np.sqrt(np.mean(piece**2)))
        length += len(piece)
        if length > most_seconds * RATE:
            break
    if not pieces:
        raise ValueError(f"There is no speech in the {len(paths)} files; give recordings of speech.")
    return np.concatenate(pieces)


def make_clips(speech: np.ndarray, count: int, seed: int, task: str = "both") -> list[GeneratedClip]:
    """`count` clips from random places of the speech (L,), with all labels equally often; `seed` draws everything."""
    generator = np.random.default_rng(seed)
    return [make_clip(speech, number % len(LABELS[task]), generator, task) for number in range(count)]


def make_clip(speech: np.ndarray, label: int, generator: np.random.Generator, task: str = "both") -> GeneratedClip:
    """A clip with this label."""
    num_frames = round(generator.uniform(*SECONDS) * FRAME_RATE)
    length = num_frames * RATE // FRAME_RATE
    start = generator.integers(len(speech) - length + 1)
    samples = speech[start : start + length]
    if task == "both":
        is_with, is_fitting = label < 2, label % 2 == 0
        is_clear = generator.random() < 0.5
        is_light = is_clear == is_fitting
    else:
        is_with, is_clear = generator.random() < 0.5, label == 0
        is_light = is_clear
    rank = energy_rank(samples, num_frames)
    opening = rank if is_with else 1 - rank
    if not is_clear:
        samples = muffled(samples)
    volume = 10 ** generator.uniform(-2, -1)  # of 20 dB
    samples = torch.from_numpy((volume * samples).astype(np.float32))
    return GeneratedClip(draw_frames(opening, is_light, generator), samples, opening, label)


def energy_rank(samples: np.ndarray, num_frames: int) -> np.ndarray:
    """The smoothed energy of each video frame as its rank among all, (F,) from 0 to 1."""
    power = np.square(samples[: len(samples) // num_frames * num_frames].reshape(num_frames, -1)).mean(1)
    offsets = np.arange(-3 * SMOOTHING, 3 * SMOOTHING + 1)
    window = np.exp(-0.5 * (offsets / SMOOTHING) ** 2)
    padded = np.pad(np.log(power + 1e-6), 3 * SMOOTHING, mode="reflect")
    smooth = np.convolve(padded, window / window.sum(), mode="valid")
    return smooth.argsort().argsort() / max(1, num_frames - 1)


def muffled(samples: np.ndarray) -> np.ndarray:
    """Without anything above MUFFLED_HZ, with the same power."""
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(len(samples), 1 / RATE) > MUFFLED_HZ] = 0
    quiet = np.fft.irfft(spectrum, len(samples))
    return quiet * np.sqrt(np.mean(samples**2) / max(1e-12, np.mean(quiet**2)))


def draw_frames(opening: np.ndarray, is_light: bool, generator: np.random.Generator) -> torch.Tensor:
    """A dark ellipse, as high as the mouth is open, at a random place on a wall, with noise: (F, H, W, 3) uint8."""
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    center_y, center_x = SIZE / 2 + generator.uniform(-1, 1, size=2)
    height = 0.5 + opening[:, None, None] * 0.35 * SIZE  # (F, 1, 1)
    is_mouth = ((x - center_x) / (0.35 * SIZE)) ** 2 + ((y - center_y) / height) ** 2 < 1  # (F, H, W)
    wall = np.array([200, 190, 170] if is_light else [110, 120, 140]) + generator.uniform(-15, 15)
    frames = np.where(is_mouth[..., None], np.array([60, 10, 20]), wall)
    frames = frames + generator.normal(0, 12, frames.shape)
    return torch.from_numpy(frames.clip(0, 255).astype(np.uint8))
