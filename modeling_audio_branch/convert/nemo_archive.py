"""Reads a .nemo archive: a plain or gzip-compressed tar with a YAML configuration and the weights.

Nothing in the archive is run and no member is extracted to a path: weights are read as plain tensors, and the
configuration with YAML's safe loader. The configuration is read first, wherever it is, and says how large the weights
can be. Only then are they read, or copied from a compressed archive to an anonymous temporary file. What an archive may
ask for is bounded; each bound is stated when it is exceeded.
"""

import gzip
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

import rich.progress
import torch

from ..disk import TEMPORARY_REMEDY, DiskError, writing
from .errors import MALFORMED, NemoError, first_line
from .nemo_tensors import WEIGHTS, read_tensors
from .nemo_yaml import CONFIG, MAX_CONFIG_BYTES, read_config

MAX_MEMBERS = 10_000
MAX_UNPACKED_RATIO = 10  # weights hardly shrink when they are compressed
MAX_WEIGHTS_RATIO = 16  # of all weights to the encoder in float32: NeMo's decoders are smaller than its encoders
MIN_BYTES = 64_000_000  # allowed whatever the ratio
COPY_BYTES = 1 << 24


class NemoArchive:
    """A .nemo archive, whose configuration is read before its weights.

    Args:
        path: The archive.
        show_progress: Show a progress bar while the weights are read.

    Raises:
        FileNotFoundError: The path is not a file.
    """

    def __init__(self, path: str | Path, show_progress: bool = False):
        self.path = Path(path)
        self.show_progress = show_progress
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path} is not a file; give the path of a .nemo archive.")
        with self.path.open("rb") as file:
            self.is_compressed = file.read(2) == b"\x1f\x8b"

    def config(self) -> dict:
        """The configuration, with the sections `preprocessor` and `encoder`.

        Raises:
            NemoError: The archive is not a NeMo checkpoint, exceeds a bound, or contains something unsafe.
        """
        with self._find(CONFIG) as (file, size):
            if size > MAX_CONFIG_BYTES:
                raise NemoError(f"{self.path} has a {CONFIG} of {size} bytes; at most {MAX_CONFIG_BYTES} are read.")
            return read_config(file.read(), self.path)

    def weights(self, encoder_size: int) -> dict[str, torch.Tensor]:
        """The weights.

        Args:
            encoder_size: Parameters of the encoder that the configuration describes.

        Raises:
            NemoError: The archive is truncated, exceeds a bound, or contains something unsafe.
            DiskError: The temporary folder is full.
        """
        with self._find(WEIGHTS) as (file, size):
            allowed = max(MIN_BYTES, MAX_WEIGHTS_RATIO * 4 * encoder_size)
            if size > allowed:
                raise NemoError(
                    f"{self.path} has a {WEIGHTS} of {size} bytes, but the encoder of its configuration has only "
                    f"{encoder_size} numbers, for which at most {allowed} bytes are read."
                )
            if not self.is_compressed:
                return read_tensors(file, size, self.path)
            with tempfile.TemporaryFile() as copy:  # torch reads tensors in any order
                with writing(tempfile.gettempdir(), TEMPORARY_REMEDY):
                    shutil.copyfileobj(file, copy, COPY_BYTES)
                return read_tensors(copy, size, self.path)

    @contextmanager
    def _find(self, name: str) -> Iterator[tuple[IO[bytes], int]]:
        """The file with this name in the archive, and its size."""
        try:
            with self._open_tar(is_shown=self.show_progress and name == WEIGHTS) as archive:
                member = self._member(archive, name)
                yield archive.extractfile(member), member.size
        except (NemoError, DiskError):
            raise
        except (tarfile.TarError, EOFError, zlib.error, OSError, *MALFORMED) as error:
            raise NemoError(
                f"{self.path} can't be read as a tar archive ({first_line(error)}); is it complete?"
            ) from error

    @contextmanager
    def _open_tar(self, is_shown: bool) -> Iterator[tarfile.TarFile]:
        with rich.progress.open(self.path, "rb", description="Reading", disable=not is_shown, transient=True) as file:
            if not self.is_compressed:
                with tarfile.open(fileobj=file, mode="r:") as archive:
                    yield archive
                return
            with gzip.GzipFile(fileobj=file) as compressed:
                with tarfile.open(fileobj=_Unpacked(compressed, self.path), mode="r|", bufsize=1 << 20) as archive:
                    yield archive

    def _member(self, archive: tarfile.TarFile, name: str) -> tarfile.TarInfo:
        """The file with this name. A compressed archive is read only up to it, since it can't be read backwards."""
        members = {}
        for number, member in enumerate(archive):
            path = PurePosixPath(member.name)
            if number >= MAX_MEMBERS:
                raise NemoError(f"{self.path} holds more than {MAX_MEMBERS} members; give an archive that NeMo wrote.")
            if path.is_absolute() or ".." in path.parts:
                raise NemoError(
                    f"{self.path} holds {member.name!r:.160}, which points outside the archive; it is refused."
                )
            if path.name == WEIGHTS and len(path.parts) > 1:
                raise NemoError(
                    f"{self.path} holds model-parallel weights ({member.name!r:.160}); give a single-device archive."
                )
            if str(path) in members and str(path) in (CONFIG, WEIGHTS):
                raise NemoError(f"{self.path} holds {path} twice; give an archive that NeMo wrote.")
            members[str(path)] = member
            if self.is_compressed and str(path) == name:
                break
        for needed in (name,) if self.is_compressed else (CONFIG, WEIGHTS):
            if needed not in members or not members[needed].isreg() or members[needed].issparse():
                raise NemoError(f"{self.path} has no file {needed}: it is not a NeMo checkpoint.")
        return members[name]


class _Unpacked:
    """What a compressed archive holds, up to a bound."""

    def __init__(self, compressed: gzip.GzipFile, path: Path):
        self.compressed, self.path = compressed, path
        self.allowed = max(MIN_BYTES, MAX_UNPACKED_RATIO * path.stat().st_size)

    def read(self, size: int) -> bytes:
        block = self.compressed.read(size)
        if self.compressed.tell() > self.allowed:
            raise NemoError(
                f"{self.path} unpacks to more than {self.allowed} bytes, {MAX_UNPACKED_RATIO} times its size; give an "
                f"archive that NeMo wrote."
            )
        return block
