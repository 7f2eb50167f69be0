"""Hits as sound files."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from ..hub.errors import first_line
from ..hub.writing import replaced_file
from .errors import CorpusError
from .search import Hit


def write_cutouts(hits: Sequence[Hit], folder: Path) -> list[Path]:
    """Writes each hit as `RANK_NAME_STARTs.wav`, at the recording's rate and with its channels.

    Raises:
        CorpusError, DiskError: One sentence: a recording can't be read any more, or the folder can't be written.
    """
    paths = []
    for rank, hit in enumerate(hits, 1):
        samples, rate = read_part(hit.file, hit.start, hit.end)
        paths.append(folder / f"{rank:02d}_{Path(hit.file).stem}_{hit.start:.2f}s.wav")
        written = io.BytesIO()  # libsndfile does not say that a disk is full
        soundfile.write(written, samples, rate, format="WAV")
        with replaced_file(paths[-1]) as path:
            path.write_bytes(written.getvalue())
    return paths


def read_part(file: str, start: float, end: float) -> tuple[np.ndarray, int]:
    """The samples (L, C) of a recording from one time to another, in seconds, and its sampling rate in Hz.

    Raises:
        CorpusError: The recording can't be read any more.
    """
    try:
        with soundfile.SoundFile(file) as recording:
            rate = recording.samplerate
            recording.seek(min(round(start * rate), recording.frames))
            return recording.read(round((end - start) * rate), dtype="float32", always_2d=True), rate
    except (soundfile.SoundFileError, OSError) as error:
        raise CorpusError(f"{file} can't be read any more ({first_line(error):.100}); index it again.") from error
