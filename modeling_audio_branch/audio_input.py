"""A clip of any form (see `audio_batch`) to mono float32 samples at one sampling rate.

L samples, C channels.
"""

import io
import math
import os
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from .audio_batch import CLIPS, MAX_CHANNELS, is_file
from .masks import length_mask, to_device

try:  # needed for files only: arrays work without it
    import soundfile
except ImportError:
    soundfile = None

FULL_SCALE = {torch.int16: 2.0**15, torch.int32: 2.0**31}  # integer samples are divided by this
MIN_RATE, MAX_RATE = 1000, 1_000_000  # Hz
MAX_AMPLITUDE = 1e10  # the power of much larger samples overflows in float32
UNKNOWN_FRAMES = 2**62  # libsndfile counts at least as many if a file does not tell its length
BLOCK_SECONDS = 30  # of a file, read at a time
BLOCK_VALUES = 2**22  # samples of all channels together, of which soundfile makes room at once: 16 MB


def load_audio(clip: Any, target_rate: int, sampling_rate: int | None = None, index: int | None = None) -> torch.Tensor:
    """Decodes, mixes down to mono (mean of the channels) and resamples one clip.

    Args:
        clip: Any form of a clip (see `audio_batch`).
        target_rate: Sampling rate of the result in Hz.
        sampling_rate: Sampling rate in Hz of a clip that does not carry its own: an array, a tensor, a list of floats.
        index: Position in the batch, for error messages; None for a single clip.

    Returns:
        Samples (L,), float32. Integers are scaled to [-1, 1); lossy files may slightly exceed it.

    Raises:
        ValueError, TypeError, FileNotFoundError: One sentence that names the clip and says what is allowed.
    """
    where = clip_name(index)
    samples, rate = _decode(clip, sampling_rate, where)
    if rate is None:
        raise ValueError(
            f"{where} is an array without a sampling rate; pass sampling_rate= in Hz, or give a dict with 'array' and "
            f"'sampling_rate'."
        )
    check_rate(rate, where)
    samples = _to_float(_to_tensor(samples, where), where)
    samples = _mix_down(samples, where)
    _check_samples(samples, where)
    return resample(samples, int(rate), target_rate)


def clip_name(index: int | None) -> str:
    """How error messages call a clip: by its position in the batch, or as the only one."""
    return "The clip" if index is None else f"Clip {index} of the batch"


def check_rate(rate: Any, where: str) -> None:
    """Raises a ValueError unless a sampling rate is a whole number of Hz in the allowed range."""
    allowed = f"give a whole number of Hz from {MIN_RATE} to {MAX_RATE}"
    number = isinstance(rate, (Real, np.number, torch.Tensor)) and np.size(rate) == 1 and not isinstance(rate, bool)
    if not number or not math.isfinite(rate) or rate != int(rate) or rate > MAX_RATE:
        shown = str(rate) if str(rate).isprintable() else ascii(str(rate))
        raise ValueError(f"{where} has a sampling rate of {shown:.40}; {allowed}.")
    if 4 <= rate <= MAX_RATE / 1000 and rate < MIN_RATE:
        raise ValueError(
            f"{where} has a sampling rate of {rate} Hz; {allowed}, such as {int(rate) * 1000} for {rate} kHz."
        )
    if rate < MIN_RATE:
        raise ValueError(f"{where} has a sampling rate of {rate} Hz; {allowed}.")


def pad_batch(
    waves: list[torch.Tensor], length: int | None = None, device: str | torch.device = "cpu"
) -> tuple[torch.Tensor, torch.Tensor | None, list[int]]:
    """Clips (L,) of any lengths to zero-padded samples and their mask, (B, length) each; and the samples of each clip.

    Args:
        waves: The samples of each clip.
        length: Samples to pad to; None is the longest clip.
        device: Of the results.

    Returns:
        The samples, their mask, None if nothing is padded, and the lengths.
    """
    lengths, device = [len(wave) for wave in waves], torch.device(device)
    length = max(lengths) if length is None else length
    if all(each == length for each in lengths):
        return torch.stack(waves).to(device), None, lengths
    waveform = torch.zeros(len(waves), length, dtype=waves[0].dtype)
    for row, wave in zip(waveform, waves, strict=True):
        row[: len(wave)] = wave
    return waveform.to(device), length_mask(to_device(lengths, device), length), lengths


def _open(file):
    """A sound file that is read from its start to its end without seeking.

    soundfile seeks after every read of a seekable file. In an MP3, each seek loses the frames that the next one builds
    on, so that samples after it are wrong.
    """

    class SequentialFile(soundfile.SoundFile):  # soundfile may be missing when this module is imported
        def seekable(self):
            return False

    return SequentialFile(file)


def read_blocks(file: Any, where: str) -> Iterator[tuple[torch.Tensor, int]]:
    """Mono samples (L,) of a file, block by block, each with its sampling rate in Hz.

    They go up to the file's real end, which a damaged file has before its header's.
    """
    try:
        with _open(file) as audio:
            check_rate(audio.samplerate, where)
            num_samples, promised = 0, audio.frames
            is_exact = audio.format == "FLAC" and promised < UNKNOWN_FRAMES  # other formats estimate or correct it
            size = max(1, min(BLOCK_SECONDS * audio.samplerate, BLOCK_VALUES // audio.channels))
            while len(block := audio.read(size, dtype="float32", always_2d=True)):  # (L, C)
                samples = torch.from_numpy(block).mean(1)
                _check_samples(samples, where)
                num_samples += len(samples)
                yield samples, audio.samplerate
    except (soundfile.SoundFileError, OSError, TypeError) as error:
        raise ValueError(f"{where} can't be read as audio ({error}); give a wav, flac, ogg or mp3 file.") from error
    if is_exact and num_samples < promised:
        raise ValueError(f"{where} is cut off or damaged after {num_samples} of {promised} samples; give a whole file.")
    if not num_samples:
        raise ValueError(f"{where} holds no samples; leave it out or give a file that does.")


def check_exists(clip: Any, index: int | None = None) -> None:
    """Raises a FileNotFoundError if a clip is the path of a file that is missing."""
    if isinstance(clip, Mapping):
        named = all(clip.get(key) is None for key in ("array", "raw", "bytes"))
        clip = clip.get("path") if named else None
    if isinstance(clip, (str, os.PathLike)) and soundfile is not None:  # without it, `load_audio` asks for it
        _check_is_file(clip, f"{clip_name(index)} ({os.fspath(clip)!r})")


def _check_is_file(path, where):
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{where} is not a file; give the path of a wav, flac, ogg or mp3 file.")


def _decode(clip, sampling_rate, where):
    """Samples in any container, and their sampling rate, None if it is unknown."""
    if is_file(clip):
        return _read_file(clip, where)
    if isinstance(clip, Mapping):
        for key in ("array", "raw"):
            if clip.get(key) is not None:
                rate = clip.get("sampling_rate")
                return clip[key], sampling_rate if rate is None else rate
        for key in ("bytes", "path"):
            if clip.get(key) is not None:
                return _decode(clip[key], None, where)
        raise ValueError(f"{where} is a dict with the keys {sorted(clip)}; it needs 'array', 'raw', 'bytes' or 'path'.")
    if hasattr(clip, "get_all_samples"):
        decoded = clip.get_all_samples()
        return decoded.data, decoded.sample_rate
    return clip, sampling_rate


def _read_file(clip, where):
    if soundfile is None:
        raise ImportError(f"{where} is a file, and reading it needs soundfile: pip install soundfile.")
    if isinstance(clip, (str, os.PathLike)):
        where = f"{where} ({os.fspath(clip)!r})"
        _check_is_file(clip, where)
        file = os.fsencode(clip)
    else:
        data = _bytes_of(clip, where)
        where = f"{where} ({len(data)} bytes)"
        file = MemoryFile(data)
    blocks, rates = zip(*read_blocks(file, where), strict=True)
    return torch.cat(blocks), rates[0]


class MemoryFile(io.BytesIO):
    """Bytes as libsndfile reads them: a seek to nowhere, which a damaged file asks for, is answered, not raised."""

    def __repr__(self):  # in soundfile's messages
        return "it"

    def seek(self, offset, whence=io.SEEK_SET):
        try:
            return super().seek(offset, whence)
        except ValueError:
            return -1


def _bytes_of(clip, where):
    """The bytes of a file in memory, or of an open one, which is left at the position where it was."""
    if not hasattr(clip, "read"):
        return bytes(clip)
    position = clip.tell() if hasattr(clip, "tell") else None
    data = clip.read()
    if position is not None:
        clip.seek(position)
    if not isinstance(data, bytes):
        raise TypeError(f'{where} is a file that is open as text; open it in binary mode ("rb").')
    return data


def _to_tensor(samples, where):
    if isinstance(samples, torch.Tensor):
        return samples.detach().cpu()
    try:
        array = np.asarray(samples)
        return torch.from_numpy(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{where} is a {type(samples).__name__} that holds no samples; give {CLIPS}.") from error


def _to_float(samples, where):
    if samples.is_floating_point():
        return samples.float()
    if samples.dtype in FULL_SCALE:
        return samples.float() / FULL_SCALE[samples.dtype]
    if samples.dtype == torch.uint8:  # 8-bit wav: silence is 128
        return (samples.float() - 128.0) / 128.0
    raise TypeError(f"{where} holds {samples.dtype} samples; give floating point, int16, int32 or uint8.")


def _mix_down(samples, where):
    if samples.ndim == 1:
        return samples
    channel_axis = 0 if samples.ndim == 2 and samples.shape[0] <= samples.shape[1] else 1
    if samples.ndim != 2 or not 1 <= samples.shape[channel_axis] <= MAX_CHANNELS:
        raise ValueError(
            f"{where} has the shape {tuple(samples.shape)}; give (samples,), or up to {MAX_CHANNELS} channels as "
            f"(channels, samples) or (samples, channels)."
        )
    return samples.mean(channel_axis)


def _check_samples(samples, where):
    if not len(samples):
        return
    lowest, highest = torch.aminmax(samples)  # NaN if any sample is
    if -MAX_AMPLITUDE <= lowest.item() and highest.item() <= MAX_AMPLITUDE:
        return
    if bad := int((~torch.isfinite(samples)).sum()):
        raise ValueError(f"{where} has {bad} samples that are NaN or infinite; give finite samples.")
    raise ValueError(
        f"{where} has samples up to {samples.abs().max().item():.1e}; give samples of at most {MAX_AMPLITUDE:.0e}, "
        f"usually in [-1, 1]."
    )


def resample(samples: torch.Tensor, rate: int, target_rate: int) -> torch.Tensor:
    """Samples (L,) at `rate` to ceil(L * target_rate / rate) samples at `target_rate`, in Hz."""
    if rate == target_rate or not len(samples):
        return samples
    ratio = rate_ratio(rate, target_rate)
    o, n = ratio.numerator, ratio.denominator
    try:
        resampler = _resampler(o, n)
    except ImportError as error:
        raise ImportError(
            f"Audio at {rate} Hz must be resampled to {target_rate} Hz, which needs torchaudio: pip install torchaudio."
        ) from error
    # A convolution is prepared anew for each length, which takes longer than running it; so there are few lengths. The
    # filter sees zeros behind the samples anyway.
    step = 2 ** max(10, len(samples).bit_length() - 4)
    padded = F.pad(samples, (0, -len(samples) % step))
    return resampler(padded)[: math.ceil(len(samples) * n / o)]


@lru_cache(maxsize=8)
def _resampler(o, n):
    """Its filter takes as long to make as a short clip to resample."""
    import torchaudio

    return torchaudio.transforms.Resample(o, n)


def rate_ratio(rate: int, target_rate: int) -> Fraction:
    """One rate over another: 441/160 for 44.1 kHz to 16 kHz.

    A ratio of large numbers (11127 Hz) would need gigabytes of filters. It is replaced by the nearest ratio with a
    denominator of at most 1000, which differs by at most 1 in a million.
    """
    return Fraction(rate, target_rate).limit_denominator(1000)
