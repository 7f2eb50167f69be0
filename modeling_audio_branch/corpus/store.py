"""The recordings of an index on disk: one Parquet file for each, which is there whole or not at all.

T encoder frames, C components of a frame.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import torch

from ..hub.errors import first_line
from ..hub.writing import replaced_file
from .errors import CorpusError

SUFFIX = ".parquet"


@dataclass(frozen=True)
class Recording:
    """What is known about a recording.

    Args:
        file: Its absolute path.
        sha256: Of the file's bytes.
        size: Bytes of the file.
        modified_ns: When it was changed last, in nanoseconds since 1970.
        seconds: Its duration.
        num_frames: Its encoder frames T.
    """

    file: str
    sha256: str
    size: int
    modified_ns: int
    seconds: float
    num_frames: int


def file_state(path: Path) -> tuple[int, int]:
    """Size in bytes and time of the last change in nanoseconds."""
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def hash_of(path: Path) -> str:
    """sha256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class RecordingStore:
    """A folder of Parquet files: a row for each encoder frame with its `start` and `end` in seconds, and `frame`.

    A frame is C int8 numbers, whose direction counts. The metadata of the file hold the fields of [`Recording`] and
    those of the model.

    Args:
        folder: It is made when the first recording is written.
        model: Fingerprint of the model that made the frames.
    """

    def __init__(self, folder: Path, model: str | None):
        self.folder, self.model = folder, model

    def path_of(self, file: str) -> Path:
        """Where the frames of the recording with this absolute path are."""
        return self.folder / (hashlib.sha256(file.encode("utf-8", "surrogateescape")).hexdigest()[:32] + SUFFIX)

    def write(self, recording: Recording, frames: torch.Tensor, frame_seconds: float) -> None:
        """Writes frames (T, C) int8, in place of those that the recording had.

        Raises:
            DiskError: The disk is full or can't be written; what was there is still there.
        """
        starts = np.arange(len(frames)) * frame_seconds
        values = pyarrow.array(frames.numpy().reshape(-1))
        columns = {
            "start": pyarrow.array(starts.astype(np.float32)),
            "end": pyarrow.array(np.minimum(starts + frame_seconds, recording.seconds).astype(np.float32)),
            "frame": pyarrow.FixedSizeListArray.from_arrays(values, frames.shape[1]),
        }
        self._write(recording, pyarrow.table(columns))

    def update(self, recording: Recording) -> None:
        """Writes other facts about a recording whose frames stay."""
        self._write(recording, self._table(self.path_of(recording.file)))

    def _write(self, recording, table):
        about = {"recording": json.dumps(asdict(recording)), "model": json.dumps(self.model)}
        with replaced_file(self.path_of(recording.file)) as path:
            pyarrow.parquet.write_table(table.replace_schema_metadata(about), path, compression="zstd")

    def remove(self, file: str) -> None:
        self.path_of(file).unlink()

    def find(self, file: str) -> Recording | None:
        """The recording with this absolute path; None if it is not there, or if its Parquet file is damaged."""
        path = self.path_of(file)
        try:
            recording = self._recording(path)
        except (FileNotFoundError, CorpusError):
            return None
        return recording if recording.file == file else None

    def state(self) -> tuple:
        """What changes when any recording is written or removed."""
        return tuple((path.name, *file_state(path)) for path in self._paths())

    def recordings(self) -> list[Recording]:
        """All recordings, in the order of their paths.

        Raises:
            CorpusError: A Parquet file is damaged, or holds frames of another model.
        """
        return sorted((self._recording(path) for path in self._paths()), key=lambda recording: recording.file)

    def frames(self, recording: Recording) -> torch.Tensor:
        """The frames (T, C) int8 of a recording.

        Raises:
            CorpusError: Its Parquet file is damaged.
        """
        path = self.path_of(recording.file)
        column = self._table(path, ["frame"]).column("frame").combine_chunks()
        values = torch.from_numpy(column.flatten().to_numpy(zero_copy_only=False).copy())
        if len(values) != recording.num_frames * column.type.list_size or values.dtype != torch.int8:
            raise CorpusError(_damaged(path, "its frames are not those that it tells of"))
        return values.view(recording.num_frames, column.type.list_size)

    def _paths(self):
        return sorted(self.folder.glob(f"*{SUFFIX}")) if self.folder.is_dir() else []

    def _recording(self, path):
        try:
            about = pyarrow.parquet.read_metadata(path).metadata
            recording = Recording(**json.loads(about[b"recording"]))
            model = json.loads(about[b"model"])
        except FileNotFoundError:
            raise
        except (pyarrow.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
            raise CorpusError(_damaged(path, first_line(error))) from error
        if model != self.model:
            raise CorpusError(f"{path} holds frames of another model; move it away, and index its recording again.")
        return recording

    def _table(self, path, columns=None):
        try:
            return pyarrow.parquet.read_table(path, columns=columns, partitioning=None)
        except (pyarrow.ArrowException, OSError) as error:
            raise CorpusError(_damaged(path, first_line(error))) from error


def _damaged(path, problem):
    return f"{os.fspath(path)} is damaged ({problem:.100}); delete it, and index its recording again."
