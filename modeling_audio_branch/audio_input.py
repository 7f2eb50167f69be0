"""Audio of any form to mono float32 samples at one sampling rate.

A *clip* is a path, the bytes of an audio file, an array or tensor, a list of floats, an object with `get_all_samples()`
like torchcodec's AudioDecoder, or a dict as `datasets` and `pipeline` make them: `{"array", "sampling_rate"}`,
`{"raw", "sampling_rate"}`, `{"path"}` or `{"bytes"}`. A *batch* is a list of clips, a 1-D object array, or a bare 2-D
array of shape (clips, samples). Inside a list or a dict, a 2-D array is one clip whose shorter axis is its
channels.

L samples.
"""

import io
import math
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .masks import length_mask

try:  # needed for files only: arrays work without it
    import soundfile
except ImportError:
    soundfile = None

FULL_SCALE = {torch.int16: 2.0**15, torch.int32: 2.0**31}  # integer samples are divided by this
MAX_CHANNELS = 32
BLOCK_SECONDS = 30  # of a long file, read at a time


def as_clips(audio: Any) -> tuple[list, bool]:
    """The clips of `audio`, and whether it was a batch (rather than one clip)."""
    if isinstance(audio, (list, tuple)):
        if not audio:
            raise ValueError("An empty list was given as audio; give at least one clip.")
        if all(isinstance(sample, (int, float, np.number)) for sample in audio):
            return [np.asarray(audio, dtype=np.float32)], False
        return list(audio), True
    if isinstance(audio, np.ndarray) and audio.dtype == object and audio.ndim == 1:
        return list(audio), True
    if isinstance(audio, (np.ndarray, torch.Tensor)) and audio.ndim == 2:
        if audio.shape[1] <= MAX_CHANNELS < audio.shape[0]:
            raise ValueError(
                f"A bare array of shape {tuple(audio.shape)} would be {audio.shape[0]} clips of {audio.shape[1]} "
                f"samples; for one clip of {audio.shape[1]} channels, put it in a list: [array]."
            )
        return list(audio), True
    return [audio], False


def load_audio(clip: Any, target_rate: int, sampling_rate: int | None = None, index: int | None = None) -> torch.Tensor:
    """Decodes, mixes down to mono (mean of the channels) and resamples one clip.

    Args:
        clip: Any form of a clip (see the module).
        target_rate: Sampling rate of the result in Hz.
        sampling_rate: Sampling rate in Hz of a clip that does not carry its own: an array, a tensor, a list of floats.
        index: Position in the batch, for error messages; None for a single clip.

    Returns:
        Samples (L,), float32. Integers are scaled to [-1, 1); lossy files may slightly exceed it.

    Raises:
        ValueError, TypeError, FileNotFoundError: One sentence that names the clip and says what is allowed.
    """
    where = "The clip" if index is None else f"Clip {index} of the batch"
    samples, rate = _decode(clip, sampling_rate, where)
    if rate is None:
        raise ValueError(
            f"{where} is an array without a sampling rate; pass sampling_rate= in Hz, or give a dict with 'array' and "
            f"'sampling_rate'."
        )
    if rate != int(rate) or rate < 1:
        raise ValueError(f"{where} has a sampling rate of {rate}; give a whole number of Hz, at least 1.")
    samples = _to_float(_to_tensor(samples, where), where)
    samples = _mix_down(samples, where)
    _check_finite(samples, where)
    return _resample(samples, int(rate), target_rate)


def pad_batch(
    waves: list[torch.Tensor], length: int | None = None, device: str | torch.device = "cpu"
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Clips (L,) of any lengths to zero-padded samples and their mask, (B, length) each.

    Args:
        waves: The samples of each clip.
        length: Samples to pad to; None is the longest clip.
        device: Of the results.

    Returns:
        The samples, and their mask; None in place of the mask if nothing is padded.
    """
    length = max(len(wave) for wave in waves) if length is None else length
    if all(len(wave) == length for wave in waves):
        return torch.stack(waves).to(device), None
    waveform = torch.zeros(len(waves), length, device=device)
    for row, wave in zip(waveform, waves, strict=True):
        row[: len(wave)] = wave
    return waveform, length_mask(torch.tensor([len(wave) for wave in waves], device=device), length)


def long_file(clip: Any, rate: int, seconds: float) -> Iterator[torch.Tensor] | None:
    """The samples of a file of this sampling rate (Hz) that is longer than `seconds`, block by block.

    None for shorter files, for files of another rate, and for clips that are no files.
    """
    if soundfile is None or not isinstance(clip, (str, os.PathLike)):
        return None
    try:
        info = soundfile.info(clip)
    except (soundfile.SoundFileError, OSError, TypeError):
        return None  # `load_audio` says what is wrong
    if info.samplerate != rate or info.frames <= seconds * rate:
        return None
    return _blocks(clip, rate)


def _blocks(path, rate):
    with soundfile.SoundFile(path) as file:
        for block in file.blocks(BLOCK_SECONDS * rate, dtype="float32", always_2d=True):  # (L, channels)
            samples = torch.from_numpy(block).mean(1)
            _check_finite(samples, f"The clip ({os.fspath(path)!r})")
            yield samples


def _decode(clip, sampling_rate, where):
    """Samples in any container, and their sampling rate, None if it is unknown."""
    if isinstance(clip, (str, os.PathLike)):
        return _read_file(Path(clip), f"{where} ({os.fspath(clip)!r})")
    if isinstance(clip, (bytes, bytearray)):
        return _read_file(io.BytesIO(clip), f"{where} ({len(clip)} bytes)")
    if isinstance(clip, dict):
        for key in ("array", "raw"):
            if clip.get(key) is not None:
                return clip[key], clip.get("sampling_rate", sampling_rate)
        for key in ("bytes", "path"):
            if clip.get(key) is not None:
                return _decode(clip[key], None, where)
        raise ValueError(f"{where} is a dict with the keys {sorted(clip)}; it needs 'array', 'raw', 'bytes' or 'path'.")
    if hasattr(clip, "get_all_samples"):
        decoded = clip.get_all_samples()
        return decoded.data, decoded.sample_rate
    return clip, sampling_rate


def _read_file(file, where):
    if soundfile is None:
        raise ImportError(f"{where} is a file, and reading it needs soundfile: pip install soundfile.")
    if isinstance(file, Path) and not file.is_file():
        raise FileNotFoundError(f"{where} is not a file; give the path of a wav, flac, ogg or mp3 file.")
    try:
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True)  # (L, channels)
    except (soundfile.SoundFileError, OSError, TypeError) as error:
        raise ValueError(f"{where} can't be read as audio ({error}); give a wav, flac, ogg or mp3 file.") from error
    if not len(samples):
        raise ValueError(f"{where} holds no samples; leave it out or give a file that does.")
    return samples.mean(1), rate


def _to_tensor(samples, where):
    if isinstance(samples, torch.Tensor):
        return samples.detach().cpu()
    try:
        array = np.asarray(samples)
        return torch.from_numpy(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{where} is a {type(samples).__name__} that holds no samples; give a path, bytes, an array, a tensor, a "
            f"dict or an AudioDecoder."
        ) from error


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


def _check_finite(samples, where):
    # A sum is faster than a test of each sample. It is not finite if a sample is not, or if it overflows.
    if not math.isfinite(samples.sum().item()) and not torch.isfinite(samples).all():
        bad = int((~torch.isfinite(samples)).sum())
        raise ValueError(f"{where} has {bad} samples that are NaN or infinite; give finite samples.")


def _resample(samples, rate, target_rate):
    if rate == target_rate or not len(samples):
        return samples
    try:
        from torchaudio.functional import resample
    except ImportError as error:
        raise ImportError(
            f"Audio at {rate} Hz must be resampled to {target_rate} Hz, which needs torchaudio: pip install torchaudio."
        ) from error
    # 44.1 kHz to 16 kHz is 441/160. A ratio of large numbers (11127 Hz) would need gigabytes of filters. It is replaced
    # by the nearest ratio with a denominator of at most 1000, which differs by at most 1 in a million.
    ratio = Fraction(rate, target_rate).limit_denominator(1000)
    return resample(samples, ratio.numerator, ratio.denominator)
