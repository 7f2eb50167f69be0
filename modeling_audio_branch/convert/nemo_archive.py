"""Reads a .nemo archive: a plain or gzip-compressed tar with a YAML configuration and the weights.

Nothing in the archive is run and no member is extracted to a path: weights are read as plain tensors, and the
configuration with YAML's safe loader. Only an anonymous temporary copy of a compressed archive is written to disk. What
an archive may ask for is bounded; each bound is stated when it is exceeded.
"""

import gzip
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from pickle import UnpicklingError
from typing import IO

import rich.progress
import torch
import yaml

from ..disk import TEMPORARY_REMEDY, DiskError, writing

CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"
MAX_CONFIG_BYTES = 5_000_000
MAX_YAML_ALIASES = 20  # a few dozen nested ones stand for billions of values
MAX_YAML_DEPTH = 32
MAX_MEMBERS = 10_000
MAX_UNPACKED_RATIO, MIN_UNPACKED_BYTES = 10, 64_000_000  # weights hardly shrink when they are compressed
COPY_BYTES = 1 << 24
# What torch and PyYAML raise on malformed data, in addition to their own errors.
MALFORMED = (RuntimeError, ValueError, LookupError, AttributeError, TypeError, OverflowError, struct.error)


class NemoError(ValueError):
    """One sentence about what is wrong with an archive, or about what Audio Branch does not support."""


def read_archive(path: str | Path, show_progress: bool = False) -> tuple[dict, dict[str, torch.Tensor]]:
    """The configuration and the weights of a .nemo archive.

    Raises:
        FileNotFoundError: The path is not a file.
        NemoError: The archive is truncated, is not a NeMo checkpoint, exceeds a bound, or contains something unsafe.
        DiskError: The temporary folder is full.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file; give the path of a .nemo archive.")
    try:
        with _open_tar(path, show_progress) as archive:
            members = _find_members(archive, path)
            config = _read_config(archive.extractfile(members[CONFIG]), path)
            weights = _read_weights(archive.extractfile(members[WEIGHTS]), path)
    except (NemoError, DiskError):
        raise
    except (tarfile.TarError, EOFError, zlib.error, OSError, *MALFORMED) as error:
        raise NemoError(f"{path} can't be read as a tar archive ({_first_line(error)}); is it complete?") from error
    return config, weights


@contextmanager
def _open_tar(path: Path, show_progress: bool) -> Iterator[tarfile.TarFile]:
    """The tar file; a compressed one is decompressed once, since torch reads tensors in any order."""
    progress = {"description": "Reading", "disable": not show_progress, "transient": True}
    with rich.progress.open(path, "rb", **progress) as file:
        if file.read(2) != b"\x1f\x8b":
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r:") as archive:
                yield archive
            return
        file.seek(0)
        with tempfile.TemporaryFile() as copy:
            with writing(tempfile.gettempdir(), TEMPORARY_REMEDY):
                _decompress(file, copy, path)
            with tarfile.open(fileobj=copy, mode="r:") as archive:
                yield archive


def _decompress(file: IO[bytes], copy: IO[bytes], path: Path) -> None:
    allowed = max(MAX_UNPACKED_RATIO * path.stat().st_size, MIN_UNPACKED_BYTES)
    with gzip.GzipFile(fileobj=file) as compressed:
        while block := compressed.read(COPY_BYTES):
            if copy.tell() + len(block) > allowed:
                raise NemoError(
                    f"{path} unpacks to more than {allowed} bytes, {MAX_UNPACKED_RATIO} times its size; give an "
                    f"archive that NeMo wrote."
                )
            copy.write(block)
    copy.seek(0)


def _find_members(archive: tarfile.TarFile, path: Path) -> dict[str, tarfile.TarInfo]:
    """The archive's members by name, with the configuration and the weights among them."""
    members = {}
    for number, member in enumerate(archive):
        name = PurePosixPath(member.name)
        if number >= MAX_MEMBERS:
            raise NemoError(f"{path} holds more than {MAX_MEMBERS} members; give an archive that NeMo wrote.")
        if name.is_absolute() or ".." in name.parts:
            raise NemoError(f"{path} holds {member.name!r:.160}, which points outside the archive; it is refused.")
        if name.name == WEIGHTS and len(name.parts) > 1:
            raise NemoError(f"{path} holds model-parallel weights ({member.name}); give a single-device archive.")
        members[str(name)] = member
    for name in (CONFIG, WEIGHTS):
        if name not in members or not members[name].isreg() or members[name].issparse():
            raise NemoError(f"{path} has no file {name}: it is not a NeMo checkpoint.")
    if members[CONFIG].size > MAX_CONFIG_BYTES:
        raise NemoError(f"{path} has a {CONFIG} of {members[CONFIG].size} bytes; at most {MAX_CONFIG_BYTES} are read.")
    return members


class _BoundedLoader(yaml.SafeLoader):
    """YAML's safe loader with few aliases and little nesting."""

    def __init__(self, stream):
        super().__init__(stream)
        self.num_aliases = self.depth = 0

    def compose_node(self, parent, index):
        self.num_aliases += self.check_event(yaml.AliasEvent)
        if self.num_aliases > MAX_YAML_ALIASES:
            raise NemoError(f"more than {MAX_YAML_ALIASES} aliases")
        if self.depth >= MAX_YAML_DEPTH:
            raise NemoError(f"more than {MAX_YAML_DEPTH} levels")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _read_config(file: IO[bytes], path: Path) -> dict:
    """The configuration, with the sections `preprocessor` and `encoder`."""
    text = file.read()
    try:
        config = yaml.load(text, _BoundedLoader)
    except NemoError as error:
        raise NemoError(f"{CONFIG} in {path} has {error}; give an archive that NeMo wrote.") from error
    except (yaml.YAMLError, *MALFORMED) as error:
        raise NemoError(f"{CONFIG} in {path} can't be read as plain YAML ({_first_line(error)}).") from error
    if isinstance(config, dict) and isinstance(config.get("model"), dict):
        config = config["model"]
    sections = ("preprocessor", "encoder")
    if not isinstance(config, dict) or not all(isinstance(config.get(section), dict) for section in sections):
        raise NemoError(f"{CONFIG} in {path} has no sections 'preprocessor' and 'encoder': it is not a speech encoder.")
    return config


def _read_weights(file: IO[bytes], path: Path) -> dict[str, torch.Tensor]:
    """The state dict, of which no tensor is larger than what the file holds for it."""
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as records:
                if any(record.compress_type != zipfile.ZIP_STORED for record in records.infolist()):
                    raise NemoError(f"{WEIGHTS} in {path} is compressed once more; give an archive that NeMo wrote.")
        file.seek(0)
        weights = torch.load(file, map_location="cpu", weights_only=True)
    except NemoError:
        raise
    except (UnpicklingError, EOFError, zipfile.BadZipFile, *MALFORMED) as error:
        raise NemoError(f"{WEIGHTS} in {path} can't be read as plain tensors ({_first_line(error)}).") from error
    is_state_dict = isinstance(weights, dict) and all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in weights.items()
    )
    if not is_state_dict:
        raise NemoError(f"{WEIGHTS} in {path} is not a dictionary of tensors.")
    for key, value in weights.items():
        is_plain = value.layout == torch.strided and value.device.type == "cpu"
        if not is_plain or value.numel() * value.itemsize > value.untyped_storage().nbytes():
            raise NemoError(f"{WEIGHTS} in {path} has a {key[:160]!r} that is not a plain tensor of its own values.")
        if value.is_floating_point() and not value.isfinite().all():
            raise NemoError(f"{path} is damaged: its weight {key[:160]} has values that are NaN or infinite.")
    return weights


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]
