"""Hits as sound files."""

import io
from collections.abc import Sequence
from pathlib import Path

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
        try:
            with soundfile.SoundFile(hit.file) as recording:
                recording.seek(min(round(hit.start * recording.samplerate), recording.frames))
                samples = recording.read(round((hit.end - hit.start) * recording.samplerate), dtype="float32")
                rate = recording.samplerate
        except (soundfile.SoundFileError, OSError) as error:
            raise CorpusError(
                f"{hit.file} can't be read any more ({first_line(error):.100}); index it again."
            ) from error
        paths.append(folder / f"{rank:02d}_{Path(hit.file).stem}_{hit.start:.2f}s.wav")
        written = io.BytesIO()  # libsndfile does not say that a disk is full
        soundfile.write(written, samples, rate, format="WAV")
        with replaced_file(paths[-1]) as path:
            path.write_bytes(written.getvalue())
    return paths
