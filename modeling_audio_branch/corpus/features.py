"""The table of features: a Parquet file for each shard, which is there whole or not at all.

N rows, S segments, C stored numbers of a segment.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from ..hub.errors import first_line
from ..hub.writing import replaced_file
from .errors import CorpusError
from .plan import Plan

ERRORS = "errors.parquet"
ABOUT, FAILED = b"audio_branch", b"errors"  # keys of a shard's metadata
PREFIX, SUFFIX = "features-", ".parquet"


@dataclass(frozen=True)
class Failure:
    """A row of the plan that can't be embedded, and the sentence that says why."""

    row: int
    path: str
    start: float | None
    end: float | None
    sentence: str


@dataclass(frozen=True)
class Embedded:
    """A row of the plan that is embedded.

    Args:
        row: Its number.
        id: sha256 (see `decoding.id_of`).
        seconds: Duration of the clip.
        features: (S, C) as they are stored.
        times: (S, 2) start and end of each segment in seconds of the clip.
        mask: (S,) whether a segment has frames.
        sequence: (S * C,) or None.
    """

    row: int
    id: str
    seconds: float
    features: np.ndarray
    times: np.ndarray
    mask: np.ndarray
    sequence: np.ndarray | None = None


def shard_path(folder: Path, shard: int) -> Path:
    """Where the features of a shard are."""
    return folder / f"{PREFIX}{shard:06d}{SUFFIX}"


def shard_paths(folder: Path) -> list[Path]:
    """The shards that are there, in their order."""
    return sorted(folder.glob(f"{PREFIX}*{SUFFIX}"))


def write_shard(
    path: Path, plan: Plan, rows: list[Embedded], failures: list[Failure], about: dict[str, Any], through: Path
) -> None:
    """Writes a shard.

    Args:
        path: Of its file.
        plan: To which the rows belong.
        rows: In the order of the plan.
        failures: The other rows of the shard.
        about: What made it, for its metadata.
        through: Folder on the same disk, in which the file is until it is whole.

    Raises:
        DiskError: The disk is full or can't be written; nothing is left of the file.
    """
    planned = plan.rows.take(pyarrow.array([row.row for row in rows], pyarrow.int64()))
    shape = about["shape"]
    times = np.array([row.times for row in rows], np.float64).reshape(-1, shape[0], 2)
    starts = np.array([start or 0.0 for start in planned["start"].to_pylist()], np.float64)
    seconds = np.array([row.seconds for row in rows], np.float64)
    columns = {
        "id": [given or row.id for given, row in zip(planned["id"].to_pylist(), rows, strict=True)],
        "path": planned["path"],
        "start": starts,
        "end": starts + seconds,
        "seconds": seconds,
        "segment_features": _nested([row.features for row in rows], shape, about["stored_as"]),
        "segment_times": _nested(times + starts[:, None, None], (shape[0], 2), "float32"),
        "segment_mask": _nested([row.mask for row in rows], (shape[0],), "bool"),
    }
    if about["sequence_embedding"]:
        columns["sequence_embedding"] = _nested(
            [row.sequence for row in rows], (shape[0] * shape[1],), about["stored_as"]
        )
    columns["id"] = pyarrow.array(columns["id"], pyarrow.string())
    table = pyarrow.table(columns | {name: planned[name] for name in plan.carried})
    failed = [asdict(failure) for failure in failures]
    table = table.replace_schema_metadata({ABOUT: json.dumps(about), FAILED: json.dumps(failed)})
    with replaced_file(path, through) as file:
        pyarrow.parquet.write_table(table, file, compression="zstd")


def _nested(values, shape, dtype):
    """Arrays of a shape as fixed-size lists."""
    array = np.asarray(values, dtype=dtype).reshape(-1)
    nested = pyarrow.array(array)
    for size in reversed(shape):
        nested = pyarrow.FixedSizeListArray.from_arrays(nested, size)
    return nested


def as_array(column: pyarrow.ChunkedArray | pyarrow.Array) -> np.ndarray:
    """A column of numbers or of fixed-size lists of them, as an array (N, ...)."""
    array, shape = column.combine_chunks() if isinstance(column, pyarrow.ChunkedArray) else column, [len(column)]
    while pyarrow.types.is_fixed_size_list(array.type):
        shape.append(array.type.list_size)
        array = array.flatten()
    return array.to_numpy(zero_copy_only=False).reshape(shape)


def read_features(folder: Path, columns: list[str] | None = None) -> pyarrow.Table:
    """The rows of all shards that are there.

    Raises:
        CorpusError: There is none, or one is damaged.
    """
    paths = shard_paths(folder)
    if not paths:
        raise CorpusError(f"{folder} holds no features; give the output folder of `audio-branch embed`.")
    tables = [read_shard(path, columns).replace_schema_metadata() for path in paths]
    return pyarrow.concat_tables(tables)


def read_shard(path: Path, columns: list[str] | None = None) -> pyarrow.Table:
    """The rows of a shard.

    Raises:
        CorpusError: It is damaged.
    """
    try:
        return pyarrow.parquet.read_table(path, columns=columns, partitioning=None)
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def failures_of(path: Path) -> list[Failure]:
    """The rows of a shard that can't be embedded.

    Raises:
        CorpusError: It is damaged.
    """
    try:
        return [Failure(**each) for each in json.loads(pyarrow.parquet.read_metadata(path).metadata[FAILED])]
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise _damaged(path, error) from error


def write_errors(folder: Path, failures: Iterable[Failure]) -> None:
    """Writes errors.parquet, or removes it if there is no error."""
    names = ("path", "start", "end", "sentence")
    rows = [{name: getattr(each, name) for name in names} for each in failures]
    path = folder / ERRORS
    if not rows:
        path.unlink(missing_ok=True)
        return
    types = (pyarrow.string(), pyarrow.float64(), pyarrow.float64(), pyarrow.string())
    schema = pyarrow.schema(zip(names, types, strict=True))
    with replaced_file(path) as file:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema), file)


def _damaged(path, error):
    return CorpusError(f"{path} is damaged ({first_line(error):.100}); delete it, and give the same command again.")
