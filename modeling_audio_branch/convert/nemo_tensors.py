"""Reads the weights of a .nemo archive as plain tensors that take no more memory than the file has bytes.

`torch.load(weights_only=True)` runs no code, but it reads a record as often as a forged directory names it, inflates
records, and calls `bytearray` and `torch.Tensor` with any size. What could make it do so is refused before it starts.
"""

import io
import pickletools
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import IO

import torch

from .errors import MALFORMED, NemoError, first_line

WEIGHTS = "model_weights.ckpt"
MAX_PICKLE_STEPS = 1_000_000  # a tensor takes about 40
MAX_TUPLE = 16  # a shape has at most 4 numbers, and the arguments of a tensor are 7
NUM_LEGACY_PICKLES = 5  # of files that torch wrote before 1.6
ORDERED_DICT = "collections OrderedDict"
TENSORS = ("torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter")
STORAGES = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte")
GLOBALS = {ORDERED_DICT, *TENSORS, *(f"torch {kind}Storage" for kind in STORAGES)}
READ_AGAIN, READ_AHEAD = 4, 64_000_000  # times the file, and bytes, that torch may read: its buffers overlap
END, END64, LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"


class _Counted(io.RawIOBase):
    """The file, for readers that stop in the end."""

    def __init__(self, file: IO[bytes], limit: int):
        self.file, self.left = file, limit

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=0):
        return self.file.seek(offset, whence)

    def readinto(self, buffer):
        content = self.file.read(len(buffer))
        self.left -= len(content)
        if self.left < 0:
            raise NemoError("it names the same bytes again and again")
        buffer[: len(content)] = content
        return len(content)


def read_tensors(file: IO[bytes], size: int, path: Path) -> dict[str, torch.Tensor]:
    """The state dict in a file of `size` bytes: finite, plain tensors.

    Raises:
        NemoError: The file has anything else, is damaged, or asks for more memory than its size.
    """
    try:
        _check_pickles(file, size)
        file.seek(0)
        counted = io.BufferedReader(_Counted(file, READ_AGAIN * size + READ_AHEAD))
        weights = torch.load(counted, map_location="cpu", weights_only=True)
    except (UnpicklingError, EOFError, zipfile.BadZipFile, NotImplementedError, *MALFORMED) as error:
        raise NemoError(f"{WEIGHTS} in {path} can't be read as plain tensors ({first_line(error)}).") from error
    is_state_dict = isinstance(weights, dict) and all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in weights.items()
    )
    if not is_state_dict:
        raise NemoError(f"{WEIGHTS} in {path} is not a dictionary of tensors.")
    if not all(key.isprintable() for key in weights):
        raise NemoError(f"{WEIGHTS} in {path} has a name of a weight that can't be printed.")
    _check_values(weights, size, path)
    return weights


def _check_values(weights: dict[str, torch.Tensor], size: int, path: Path) -> None:
    for key, value in weights.items():
        is_plain = value.layout == torch.strided and value.device.type == "cpu"
        if not is_plain or value.nbytes > value.untyped_storage().nbytes():
            raise NemoError(f"{WEIGHTS} in {path} has a {key[:160]!r} that is not a plain tensor of its own values.")
    if (total := sum(value.nbytes for value in weights.values())) > 2 * size:  # some weights are shared by two layers
        raise NemoError(
            f"{WEIGHTS} in {path} has tensors of {total} bytes in a file of {size}; give an archive that NeMo wrote."
        )
    for key, value in weights.items():
        if value.is_floating_point() and not value.float().isfinite().all():  # numbers over 3e38 are infinite in it
            raise NemoError(f"{path} is damaged: its weight {key[:160]} has values that are NaN or infinite.")


def _check_pickles(file: IO[bytes], size: int) -> None:
    """Raises a ValueError if the file's pickles, which are only looked at, make anything but tensors."""
    file.seek(0)
    if file.read(4) != b"PK\x03\x04":  # as torch tells its two formats apart
        file.seek(0)
        steps = (step for _ in range(NUM_LEGACY_PICKLES) for step in pickletools.genops(file))
        _check_steps(steps)
        return
    _check_directory(file, size)
    with zipfile.ZipFile(file) as records:
        infos = records.infolist()
        if any(record.compress_type != zipfile.ZIP_STORED for record in infos):
            raise NemoError("it is compressed once more")
        if sum(record.file_size for record in infos) > size:
            raise NemoError("it names the same bytes again and again")
        pickles = [record for record in infos if record.filename.lower().endswith("data.pkl")]
        if len(pickles) != 1:
            raise NemoError(f"it has {len(pickles)} pickles in place of 1")
        with records.open(pickles[0]) as pickle:
            _check_steps(pickletools.genops(pickle))


def _check_directory(file: IO[bytes], size: int) -> None:
    """Raises a NemoError unless every reader of zip files finds the same directory in this one."""
    file.seek(max(0, size - 98))
    tail = file.read()
    end = tail[-22:]
    if not end.startswith(END) or end[20:] != b"\0\0":
        raise NemoError("its end is not that of a zip file")
    (length, start) = struct.unpack("<II", end[12:20])
    stop = size - 22
    if tail[-42:-38] == LOCATOR64:
        stop = size - 98
        if tail[:4] != END64 or struct.unpack("<Q", tail[-34:-26])[0] != stop:
            raise NemoError("its directory is in two places")
        length64, start64 = struct.unpack("<QQ", tail[40:56])
        if length not in (length64, 0xFFFFFFFF) or start not in (start64, 0xFFFFFFFF):
            raise NemoError("its directory is in two places")
        length, start = length64, start64
    if start + length != stop:
        raise NemoError("its directory is in two places")


def _check_steps(steps: Iterator) -> None:
    """Raises a NemoError if a pickle has a function that makes more than the tensors in the file, or copies."""
    classes, state = set(), None  # the memo's places of OrderedDict, which may only be called without arguments
    sizes, num_builds = [0], 0  # values since each mark
    for number, (code, argument, _) in enumerate(steps):
        name = code.name
        num_builds += name == "BUILD"
        if number >= MAX_PICKLE_STEPS or num_builds > 1:
            raise NemoError("its pickle is too long")
        if name == "GLOBAL" and argument not in GLOBALS:
            raise NemoError(f"it has {argument!r:.100}, which is not a tensor")
        if name == "MARK":
            sizes.append(0)
        elif name in ("TUPLE", "SETITEMS", "APPENDS"):
            if sizes.pop() > MAX_TUPLE and name == "TUPLE":
                raise NemoError(f"it has a shape of more than {MAX_TUPLE} numbers")
            sizes[-1] += name == "TUPLE"
        else:
            sizes[-1] += len(code.stack_after) - len(code.stack_before)
        if name.endswith("BINPUT"):
            (classes.add if state == "class" else classes.discard)(argument)
            continue
        if (state == "class" and name != "EMPTY_TUPLE") or (state == "arguments" and name != "REDUCE"):
            raise NemoError("it copies a dictionary")
        is_class = (name == "GLOBAL" and argument == ORDERED_DICT) or (name.endswith("BINGET") and argument in classes)
        state = "class" if is_class else "arguments" if state == "class" else None
