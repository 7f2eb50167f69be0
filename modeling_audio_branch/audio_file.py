"""A sound file of any length, read and resampled block by block.

L samples.
"""

import math
import os
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from tqdm.auto import tqdm

from .audio_input import clip_name, rate_ratio, read_blocks, resample, soundfile

ZERO_CROSSINGS = 6  # of torchaudio's resampling filter on each side
ROLLOFF = 0.99  # of its cut-off frequency


class AudioFile:
    """The mono samples of a sound file at one sampling rate, in blocks (L,); each iteration reads it anew.

    Its samples are those of `load_audio`, of which it never holds more than a minute.

    Args:
        path: Of a wav, flac, ogg or mp3 file.
        rate: Sampling rate of the samples in Hz.
        index: Position in a batch, for error messages; None for a single clip.
        seconds: Its duration, for a progress bar of each iteration; None for no bar.

    Raises:
        ValueError: While it is read: one sentence on what is wrong with the file.
    """

    def __init__(self, path: str | os.PathLike, rate: int, index: int | None = None, seconds: float | None = None):
        self.path, self.rate, self.index, self.seconds = path, rate, index, seconds

    def __iter__(self) -> Iterator[torch.Tensor]:
        blocks = resampled(read_blocks(os.fsencode(self.path), self._name()), self.rate)
        if self.seconds is None:
            yield from blocks
            return
        with tqdm(desc=os.path.basename(self.path), total=round(self.seconds), unit="s", leave=False) as bar:
            for block in blocks:
                yield block
                bar.update(len(block) / self.rate)

    def _name(self):
        return f"{clip_name(self.index)} ({os.fspath(self.path)!r})"


def long_file(
    clip: Any, rate: int, seconds: float, index: int | None = None, show_progress: bool = False
) -> AudioFile | None:
    """A file that is longer than `seconds`, to be read at `rate` in Hz.

    None for shorter files, and for clips that are no files by name.
    """
    if soundfile is None or not isinstance(clip, (str, os.PathLike)):
        return None
    try:
        info = soundfile.info(os.fsencode(clip))
    except (soundfile.SoundFileError, OSError, TypeError, ValueError):
        return None  # `load_audio` says what is wrong
    if info.frames <= seconds * info.samplerate:
        return None
    return AudioFile(clip, rate, index, info.frames / info.samplerate if show_progress else None)


def resampled(blocks: Iterable[tuple[torch.Tensor, int]], target_rate: int) -> Iterator[torch.Tensor]:
    """Blocks of samples (L,) with their sampling rate in Hz, the same for all, to blocks at `target_rate`.

    Together they are what `resample` makes of all samples at once.
    """
    held, start = torch.zeros(0), 0  # samples that are still needed, and the place of the first
    done = 0  # groups of samples that are resampled
    for block, rate in blocks:
        if rate == target_rate:
            yield block
            continue
        # Resampling by o / n makes a group of n samples of every o, with a filter that looks `context` to each side.
        ratio = rate_ratio(rate, target_rate)
        o, n = ratio.numerator, ratio.denominator
        context = math.ceil(ZERO_CROSSINGS * o / (min(o, n) * ROLLOFF * o) + 1) * o
        held = torch.cat([held, block])
        groups = (start + len(held) - context) // o
        if groups > done:
            yield _resample_groups(held[: groups * o + context - start], done, groups, start, o, n)
            keep = max(0, groups * o - context)
            held, start, done = held[keep - start :], keep, groups
    if len(held):
        length = math.ceil(n * (start + len(held)) / o) - done * n
        yield _resample_groups(held, done, None, start, o, n)[:length]


def _resample_groups(samples, first, last, start, o, n):
    """The groups from `first` to before `last` (None: all), of samples from place `start` on."""
    skipped = first - start // o
    return resample(samples, o, n)[skipped * n : None if last is None else (skipped + last - first) * n]
