"""What is one clip and what is a batch of clips, among everything that people pass as audio.

One clip is a path, the bytes of an audio file (also a memoryview, a BytesIO or an open file), a 1-D array or tensor, a
sequence of numbers, a dict as `datasets` and `pipeline` make them, or an object with `get_all_samples()` like
torchcodec's AudioDecoder.

A batch is a sequence or an iterator of clips (a list, a tuple, a deque, a column of `datasets`, a pandas Series, an
object array, a generator), a `datasets.Dataset` whose rows are clips, or a bare 2-D array of shape (clips, samples).
Inside a batch or a dict, a 2-D array is one clip whose shorter axis is its channels. Anything else is refused by name.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

MAX_CHANNELS = 32
CLIPS = "a clip (a path, the bytes of a file, an array, a tensor, a dict or an AudioDecoder) or a list of clips"


def as_clips(audio: Any) -> tuple[list, bool]:
    """The clips of `audio`, and whether it was a batch (rather than one clip).

    Raises:
        ValueError: An empty batch, or a 2-D array that looks like one clip of several channels.
        TypeError: Something that holds neither a clip nor clips in an order.
    """
    if is_file(audio) or isinstance(audio, Mapping) or hasattr(audio, "get_all_samples"):
        return [audio], False
    if isinstance(audio, memoryview):  # of samples; one of bytes is a file
        audio = np.asarray(audio)
    if isinstance(audio, (np.ndarray, torch.Tensor)):
        return _clips_of_array(audio)
    if not _is_ordered(audio):
        raise TypeError(f"{_a(audio)} was given as audio; give {CLIPS}.")
    items = list(audio)
    if not items:
        raise ValueError(f"An empty {type(audio).__name__} was given as audio; give at least one clip.")
    if all(isinstance(item, (int, float, np.number)) for item in items):
        return [_samples_of(items)], False
    return items, True


def is_file(clip: Any) -> bool:
    """Whether a clip is an audio file: its path, its bytes, or an object to read them from."""
    if isinstance(clip, memoryview):
        return clip.format in ("B", "b", "c")
    return isinstance(clip, (str, os.PathLike, bytes, bytearray)) or hasattr(clip, "read")


def _samples_of(numbers):
    try:
        with np.errstate(over="ignore"):  # what becomes infinite is refused with all that is not finite
            return np.asarray(numbers, dtype=np.float32)
    except OverflowError as error:
        raise ValueError(
            "A list with an integer beyond all samples was given as audio; give finite samples."
        ) from error


def _clips_of_array(array):
    shape = tuple(array.shape)
    if array.ndim == 1 and array.dtype == object:
        if not len(array):
            raise ValueError("An empty array of clips was given as audio; give at least one clip.")
        return list(array), True
    if array.ndim != 2:
        return [array], False  # samples (L,), or what `load_audio` refuses
    if not shape[0]:
        raise ValueError(f"An empty batch (an array of shape {shape}) was given as audio; give at least one clip.")
    if shape[1] <= MAX_CHANNELS < shape[0]:
        raise ValueError(
            f"A bare array of shape {shape} would be {shape[0]} clips of {shape[1]} samples; for one clip of "
            f"{shape[1]} channels, put it in a list: [array]."
        )
    return list(array), True


def _is_ordered(audio):
    """Whether it gives its items one by one in an order. Sets and tables with named columns do not."""
    if isinstance(audio, (Sequence, Iterator)):
        return True
    if hasattr(audio, "columns"):  # a pandas or polars DataFrame, whose items are columns
        return False
    return hasattr(audio, "__len__") and hasattr(audio, "__getitem__") and hasattr(audio, "__iter__")


def _a(audio):
    return "None" if audio is None else f"A {type(audio).__name__}"
