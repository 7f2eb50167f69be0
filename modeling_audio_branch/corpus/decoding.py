"""Decoding and resampling in worker processes.

L samples.
"""

import contextlib
import hashlib
import io
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import soundfile
import torch
from torch.utils.data import DataLoader, Dataset

from ..audio_file import AudioFile
from ..audio_input import check_exists, load_audio
from ..encoding import LONG_FILE_SECONDS
from ..hub.errors import first_line
from ..hub.writing import TEMPORARY_REMEDY, temporary_folder, writing
from .plan import NUMBER, SOURCE
from .sources import is_remote, read_remote
from .store import hash_of

ROWS_AT_ONCE = 8  # that a worker decodes for one answer
SPANS_AT_ONCE = 256  # of one recording, which is read once for all of them
TASKS_AHEAD = 16  # of all workers: so much is held in memory
POLL_SECONDS = 0.5
LONG_FILE_BYTES = 2**16  # a smaller file is not asked for its length: at 4 kbit/s, it would just have two minutes
NEEDED = ["path", "start", "end", SOURCE, NUMBER]  # columns of the plan
AT_END = 0.1  # seconds that a span may end after its recording, as rounded durations in tables do


@dataclass
class Decoded:
    """A row of the plan with its audio.

    Args:
        row: Its number.
        id: sha256 of the bytes of the file; of part of a file also of start and end.
        audio: Samples (L,) at the sampling rate of the model, or the path or the bytes of a long file, which is read
            block by block; None if it can't be read.
        error: The sentence that says why.
    """

    row: int
    id: str | None = None
    audio: np.ndarray | str | bytes | None = None
    error: str | None = None


def decode(
    rows: pyarrow.Table, numbers: list[int], audio: dict[str, Any], rate: int, can_stream: bool, workers: int
) -> Iterator[Decoded]:
    """The audio of some rows of a plan, in their order.

    Args:
        rows: Of the plan.
        numbers: Of the rows that are wanted.
        audio: The embedded audio of each source that has some (see [`Source`]).
        rate: Sampling rate in Hz of the samples.
        can_stream: Whether long files are left to the encoder.
        workers: Processes that decode; with 0, this one does.

    Raises:
        RuntimeError: A worker process was killed.
    """
    tasks = _Tasks(rows, numbers, audio, rate, can_stream)
    options = (
        {"prefetch_factor": max(2, TASKS_AHEAD // workers), "worker_init_fn": partial(_start_worker, os.getpid())}
        if workers
        else {}
    )
    loader = DataLoader(tasks, batch_size=None, num_workers=workers, collate_fn=_unchanged, **options)
    for decoded in loader:
        yield from decoded


def _unchanged(decoded):
    return decoded


def _start_worker(main, _):
    """Ctrl-C goes to all processes of a terminal, but the main one decides what to do; without it, this one ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with, args=(main,), daemon=True).start()


def end_with(main: int) -> None:
    """Ends this process when the main one, of which this is the number, was killed: nobody would get its results."""
    try:
        while True:
            os.kill(main, 0)
            time.sleep(POLL_SECONDS)
    except OSError:
        os._exit(1)


class _Tasks(Dataset):
    """Lists of decoded rows that follow one another, several files or several parts of one file."""

    def __init__(self, rows, numbers, audio, rate, can_stream):
        self.rows, self.audio, self.rate, self.can_stream = rows.select(NEEDED), audio, rate, can_stream
        self.tasks, path = [], None
        paths = self.rows["path"]
        for number in numbers:
            previous, path = path, paths[number].as_py()
            length = len(self.tasks[-1]) if self.tasks else ROWS_AT_ONCE
            if length >= (SPANS_AT_ONCE if path == previous else ROWS_AT_ONCE):
                self.tasks.append([])
            self.tasks[-1].append(number)

    def __len__(self):
        return len(self.tasks)

    def __getitem__(self, task) -> list[Decoded]:
        numbers = self.tasks[task]
        rows = self.rows.take(numbers).to_pylist()
        decoded = []
        for _, group in groupby(zip(numbers, rows, strict=True), key=lambda each: _file_of(each[1])):
            decoded += self._decode_file(*zip(*group, strict=True))
        return decoded

    def _decode_file(self, numbers, rows):
        """Rows of the same file."""
        try:
            audio = self._fetch(rows[0])
            clips = self._clips(audio, rows)
            digest = hash_of(Path(audio)) if isinstance(audio, str) else hashlib.sha256(audio).hexdigest()
        except Exception as error:  # a file may be wrong in any way, and a driver of fsspec raises what it likes
            return [Decoded(number, error=first_line(error)) for number in numbers]
        ids = [id_of(digest, row["start"], row["end"]) for row in rows]
        return [
            Decoded(number, error=str(clip)) if isinstance(clip, ValueError) else Decoded(number, each, clip)
            for number, each, clip in zip(numbers, ids, clips, strict=True)
        ]

    def _fetch(self, row):
        """The path or the bytes of a file."""
        if row[SOURCE] is not None:
            audio = self.audio[row[SOURCE]](row[NUMBER])
        else:
            audio = read_remote(row["path"]) if is_remote(row["path"]) else row["path"]
        if isinstance(audio, str):
            check_exists(audio)
        return audio

    def _clips(self, audio, rows):
        """For each row its samples, or a ValueError; or the audio itself if it is long and wanted whole."""
        if len(rows) > 1 or rows[0]["start"] is not None or rows[0]["end"] is not None:
            with as_file(audio) as path:
                return cut_parts(path, self.rate, [(row["start"], row["end"]) for row in rows])
        if self.can_stream and _is_long(audio):
            return [audio]
        return [load_audio(audio, self.rate).numpy()]


def _file_of(row):
    """What rows of the same file have in common."""
    return (row[SOURCE], row[NUMBER]) if row[SOURCE] is not None else row["path"]


def id_of(digest: str, start: float | None, end: float | None) -> str:
    """The id of a clip, of the sha256 of its file: this itself, or for a part of the file that of both and the part."""
    return digest if start is None and end is None else hashlib.sha256(f"{digest} {start} {end}".encode()).hexdigest()


def _is_long(audio):
    if (os.path.getsize(audio) if isinstance(audio, str) else len(audio)) < LONG_FILE_BYTES:
        return False
    try:
        info = soundfile.info(os.fsencode(audio) if isinstance(audio, str) else io.BytesIO(audio))
    except (soundfile.SoundFileError, OSError, TypeError, ValueError):
        return False  # `load_audio` says what is wrong
    return info.frames > LONG_FILE_SECONDS * info.samplerate


def cut_parts(path: str, rate: int, spans: list[tuple[float | None, float | None]]) -> list[np.ndarray | ValueError]:
    """The samples (L,) at a rate in Hz of parts of a file, from start to end in seconds, or what is wrong with each.

    They are those of the whole file from round(start * rate) to round(end * rate). It is read once, block by block.
    """
    starts = [0.0 if start is None else start for start, _ in spans]
    ends = [math.inf if end is None else end for _, end in spans]
    pieces, position = [[] for _ in spans], 0
    for block in AudioFile(path, rate):
        for part, start, end in zip(pieces, starts, ends, strict=True):
            if 0 <= start < end and start * rate < position + len(block) and end * rate > position:
                first, last = round(start * rate) - position, min(end * rate - position, len(block))
                part.append(block[max(0, first) : round(last)].clone())  # not a view, which would keep the block
        position += len(block)
    seconds = position / rate
    return [
        torch.cat([torch.zeros(0), *part]).numpy()
        if 0 <= start < end and start < seconds and (end == math.inf or end <= seconds + AT_END)
        else ValueError(
            f"start={given[0]} and end={given[1]} s were given, but the recording has {seconds:.2f} s; give a start "
            f"from 0 and an end after it, within the recording."
        )
        for part, start, end, given in zip(pieces, starts, ends, spans, strict=True)
    ]


@contextlib.contextmanager
def as_file(audio: str | bytes) -> Iterator[str]:
    """The path of a file, for bytes of a temporary one."""
    if isinstance(audio, str):
        yield audio
        return
    with temporary_folder("audio-branch-") as folder, writing(folder, TEMPORARY_REMEDY):
        path = folder / "audio"
        path.write_bytes(audio)
        yield str(path)
