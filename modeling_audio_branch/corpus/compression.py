"""Smaller segment features: the leading components after a rotation, int8 numbers, or signs.

N clips, S segments, D feature_dim, C components.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch.nn import functional as F
from transformers.utils import cached_file

from ..hub.errors import first_line
from ..hub.writing import replaced_file
from .errors import CorpusError

FILE = "rotation.safetensors"
LARGEST = 127  # int8
DTYPES = ("float32", "float16", "int8", "binary")


@dataclass(frozen=True)
class FeatureFormat:
    """How segment features are stored.

    Args:
        dtype: `float32` or `float16` as the model gives them; `int8`: unit vectors times 127; `binary`: the signs of
            their components, eight to a byte.
        dim: Only so many leading components after the rotation that comes with the checkpoint.
        sequence_embedding: Also store the sequence embedding, with `float32` or `float16`.
    """

    dtype: str = "float32"
    dim: int | None = None
    sequence_embedding: bool = False

    def check(self, feature_dim: int) -> "FeatureFormat":
        """Raises a CorpusError unless it is possible for features of this width."""
        if self.dtype not in DTYPES:
            raise CorpusError(f"dtype={self.dtype!r} was given; give one of {', '.join(DTYPES)}.")
        whole = isinstance(self.dim, int) and not isinstance(self.dim, bool)
        if self.dim is not None and not (whole and 1 <= self.dim <= feature_dim):
            raise CorpusError(f"dim={self.dim!r} was given; give a whole number from 1 to {feature_dim}.")
        if self.dtype == "binary" and self.width(feature_dim) % 8:
            raise CorpusError(f"dim={self.dim!r} was given with binary; give a multiple of 8.")
        if self.sequence_embedding and self.dtype in ("int8", "binary"):
            raise CorpusError("A sequence embedding is stored in float32 or float16; leave out int8 and binary.")
        return self

    def width(self, feature_dim: int) -> int:
        """Components of a segment."""
        return self.dim or feature_dim


def rotation_of(name: str | None, feature_dim: int) -> torch.Tensor | None:
    """The rotation (D, D) of a checkpoint's folder or repository; None if it has none.

    Raises:
        CorpusError: The file is wrong.
    """
    try:
        path = name and cached_file(name, FILE, _raise_exceptions_for_missing_entries=False)
    except OSError:  # no repository of this name can be reached: the model is in memory
        path = None
    return read_rotation(Path(path), feature_dim) if path else None


def read_rotation(path: Path, feature_dim: int) -> torch.Tensor:
    """The rotation (D, D) in a file, in float32.

    Raises:
        CorpusError: It holds something else.
    """
    try:
        rotation = load_file(path)["rotation"]
    except Exception as error:  # safetensors has no class of its own that all its errors belong to
        raise CorpusError(f"{path} holds no rotation ({first_line(error):.100}).") from error
    fits = rotation.shape == (feature_dim, feature_dim) and rotation.is_floating_point()
    rotation = rotation.float()
    if not fits or not torch.allclose(rotation.T @ rotation, torch.eye(feature_dim), atol=1e-3):
        raise CorpusError(f"{path} holds no rotation of {feature_dim} components.")
    return rotation


def fit_rotation(segment_features: torch.Tensor) -> torch.Tensor:
    """The rotation (D, D) to the principal components of unit segments, of features (N, S, D) of clips of any kind.

    They are not centred, so that cosine similarities are kept.
    """
    units = F.normalize(segment_features.flatten(0, 1).double(), dim=-1)  # (N * S, D)
    _, directions = torch.linalg.eigh(units.T @ units)  # the largest come last
    return directions.flip(1).float().contiguous()


def save_rotation(rotation: torch.Tensor, folder: Path) -> None:
    """Writes it to the folder of a checkpoint, in half precision: half a megabyte for 512 components.

    Raises:
        DiskError: The file can't be written.
    """
    with replaced_file(folder / FILE) as file:
        file.write_bytes(save({"rotation": rotation.half()}))


def compress(segment_features: torch.Tensor, form: FeatureFormat, rotation: torch.Tensor | None = None) -> np.ndarray:
    """Segment features (..., S, D) as they are stored: (..., S, C), for binary (..., S, C / 8) bytes.

    Features of a phrase that is sought among stored ones are compressed in the same way.

    Args:
        segment_features: As the model gives them.
        form: How they are stored.
        rotation: (D, D); needed with `dim`.
    """
    features = segment_features.float()
    if form.dim is not None:
        if rotation is None:
            raise CorpusError(f"dim={form.dim} needs a rotation; see docs/scale.md on how to fit one.")
        features = F.normalize(F.normalize(features, dim=-1) @ rotation[:, : form.dim], dim=-1)
    if form.dtype in ("float32", "float16"):
        return features.numpy().astype(form.dtype)
    if form.dtype == "int8":
        return (F.normalize(features, dim=-1) * LARGEST).round().to(torch.int8).numpy()
    return np.packbits(features.numpy() > 0, axis=-1)


def unpack_signs(features: np.ndarray) -> np.ndarray:
    """Signs (..., S, C), -1 or 1, of the bytes (..., S, C / 8) that hold them."""
    return np.unpackbits(features, axis=-1).astype(np.float32) * 2 - 1


def similarity(first: np.ndarray, second: np.ndarray, dtype: str) -> np.ndarray:
    """The mean over segments of the cosine similarity of stored features (N, S, C) and (M, S, C): (N, M).

    Of signs, it is the share of those that agree, from -1 to 1.
    """
    if dtype == "binary":
        first, second = unpack_signs(first), unpack_signs(second)
    units = [F.normalize(torch.from_numpy(np.asarray(each, dtype=np.float32)), dim=-1) for each in (first, second)]
    return torch.einsum("nsd,msd->nm", *units).numpy() / first.shape[1]
