"""Reads a .nemo archive: a plain or gzip-compressed tar with a YAML configuration and the weights.

Nothing in the archive is run and no member is extracted to a path: weights are read as plain tensors, the configuration
with YAML's safe loader, and only an anonymous temporary copy of the weights is written to disk.
"""

import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath
from pickle import UnpicklingError
from typing import IO

import rich.progress
import torch
import yaml

CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"
MAX_CONFIG_BYTES = 20_000_000
COPY_BYTES = 1 << 24
# What torch and PyYAML raise on malformed data, in addition to their own errors.
MALFORMED = (RuntimeError, ValueError, KeyError, AttributeError, IndexError, TypeError)


class NemoError(ValueError):
    """One sentence about what is wrong with an archive, or about what Audio Branch does not support."""


def read_archive(path: str | Path, show_progress: bool = False) -> tuple[dict, dict[str, torch.Tensor]]:
    """The configuration and the weights of a .nemo archive.

    Raises:
        FileNotFoundError: The path is not a file.
        NemoError: The archive is truncated, is not a NeMo checkpoint, or contains something unsafe.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file; give the path of a .nemo archive.")
    try:
        with (
            rich.progress.open(path, "rb", description="Reading", disable=not show_progress, transient=True) as file,
            tarfile.open(fileobj=file, mode="r:*") as archive,
        ):
            members = _find_members(archive, path)
            config = _read_config(archive.extractfile(members[CONFIG]), path)
            weights = _read_weights(archive.extractfile(members[WEIGHTS]), path)
    except NemoError:
        raise
    except (tarfile.TarError, EOFError, zlib.error, OSError, *MALFORMED) as error:
        raise NemoError(f"{path} can't be read as a tar archive ({_first_line(error)}); is it complete?") from error
    return config, weights


def _find_members(archive: tarfile.TarFile, path: Path) -> dict[str, tarfile.TarInfo]:
    """The archive's members by name, with the configuration and the weights among them."""
    members = {}
    for member in archive:
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts:
            raise NemoError(f"{path} holds {member.name!r}, which points outside the archive; it is refused.")
        if name.name == WEIGHTS and len(name.parts) > 1:
            raise NemoError(f"{path} holds model-parallel weights ({member.name}); give a single-device archive.")
        members[str(name)] = member
    for name in (CONFIG, WEIGHTS):
        if name not in members or not members[name].isreg():
            raise NemoError(f"{path} has no file {name}: it is not a NeMo checkpoint.")
    if members[CONFIG].size > MAX_CONFIG_BYTES:
        raise NemoError(f"{path} has a {CONFIG} of {members[CONFIG].size} bytes; at most {MAX_CONFIG_BYTES} are read.")
    return members


def _read_config(file: IO[bytes], path: Path) -> dict:
    """The configuration, with the sections `preprocessor` and `encoder`."""
    text = file.read()
    try:
        config = yaml.safe_load(text)
    except (yaml.YAMLError, *MALFORMED) as error:
        raise NemoError(f"{CONFIG} in {path} can't be read as plain YAML ({_first_line(error)}).") from error
    if isinstance(config, dict) and isinstance(config.get("model"), dict):
        config = config["model"]
    sections = ("preprocessor", "encoder")
    if not isinstance(config, dict) or not all(isinstance(config.get(section), dict) for section in sections):
        raise NemoError(f"{CONFIG} in {path} has no sections 'preprocessor' and 'encoder': it is not a speech encoder.")
    return config


def _read_weights(file: IO[bytes], path: Path) -> dict[str, torch.Tensor]:
    """The state dict. It is copied first: torch reads tensors in any order, for which a compressed tar is slow."""
    with tempfile.TemporaryFile() as copy:
        while block := file.read(COPY_BYTES):
            copy.write(block)
        copy.seek(0)
        try:
            weights = torch.load(copy, map_location="cpu", weights_only=True)
        except (UnpicklingError, EOFError, *MALFORMED) as error:
            raise NemoError(f"{WEIGHTS} in {path} can't be read as plain tensors ({_first_line(error)}).") from error
    is_state_dict = isinstance(weights, dict) and all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in weights.items()
    )
    if not is_state_dict:
        raise NemoError(f"{WEIGHTS} in {path} is not a dictionary of tensors.")
    return weights


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]
