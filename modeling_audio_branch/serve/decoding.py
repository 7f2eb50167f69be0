"""The bytes of an audio file to samples, as `encode` decodes them, with bounds on time and memory.

L samples.
"""

import soundfile
import torch

from ..audio_batch import MAX_CHANNELS
from ..audio_input import MemoryFile, read_blocks, resample
from .limits import Limits, RequestError

MAX_FILE_RATE = 192_000  # Hz; a block of a file is held at the file's own rate, with all channels


def decode_clips(clips: list[bytes], rate: int, limits: Limits) -> list[torch.Tensor]:
    """The samples (L,) of each clip at a rate in Hz.

    Raises:
        RequestError: 422 for a clip that can't be read, 413 for clips that are too long.
    """
    waves, left = [], limits.request_seconds
    for index, data in enumerate(clips):
        waves.append(_decode(data, rate, index, min(left, limits.clip_seconds), limits))
        left -= len(waves[-1]) / rate
    return waves


def _decode(data, rate, index, seconds, limits):
    where, parts, count = f"Input {index}", [], 0
    _check_header(data, where)
    try:
        for samples, file_rate in read_blocks(MemoryFile(data), where):
            count += len(samples)
            if count > seconds * file_rate:
                raise RequestError(
                    413,
                    f"{where} makes the request too long; give clips of at most {limits.clip_seconds:g} s, and at most "
                    f"{limits.request_seconds:g} s in a request.",
                )
            parts.append(samples)
        return resample(torch.cat(parts), file_rate, rate)
    except (ValueError, TypeError, OSError) as error:
        raise RequestError(422, str(error)) from error


def _check_header(data, where):
    """Refuses what libsndfile would take much memory for; what can't be opened is left to the decoder's sentence."""
    try:
        with soundfile.SoundFile(MemoryFile(data)) as file:
            channels, file_rate = file.channels, file.samplerate
    except (soundfile.SoundFileError, OSError, TypeError, ValueError):
        return
    if channels > MAX_CHANNELS or file_rate > MAX_FILE_RATE:
        raise RequestError(
            422,
            f"{where} has {channels} channels at {file_rate} Hz; give at most {MAX_CHANNELS} channels and "
            f"{MAX_FILE_RATE} Hz.",
        )
