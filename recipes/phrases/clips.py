"""Training clips on disk: `NAME.npy` holds the samples of all clips in one row, `NAME.json` a record for each clip."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from modeling_audio_branch.hub.writing import replaced_file

from ..debian_audio import DATA

INT16_PEAK = 32000  # of a normalized clip


@dataclass(frozen=True)
class ClipRecord:
    """Position of a clip in the samples, and what is said by whom."""

    start: int  # first sample
    length: int  # samples at 8 kHz
    text: str
    language: str
    voice: str  # a person, another synthesizer, or "espeak" and a variant of its voices

    @property
    def is_espeak(self) -> bool:
        return self.voice.startswith("espeak")


class ClipWriter:
    """Collects clips and writes them to data/phrases."""

    def __init__(self):
        self.records: list[ClipRecord] = []
        self._samples: list[np.ndarray] = []
        self._length = 0

    def add(self, samples: np.ndarray, text: str, language: str, voice: str) -> None:
        """Adds samples (L,) of a peak of at most 1; they are stored as int16."""
        self._samples.append((samples * INT16_PEAK).astype(np.int16))
        self.records.append(ClipRecord(self._length, len(samples), text, language, voice))
        self._length += len(samples)

    def save(self, name: str) -> None:
        """Writes both files, the records last.

        Raises:
            DiskError: The disk is full, or can't be written; neither file is changed by half.
        """
        with replaced_file(clip_path(name, ".npy")) as file:
            np.save(file, np.concatenate(self._samples))
        with replaced_file(clip_path(name, ".json")) as file:
            file.write_text(json.dumps([asdict(record) for record in self.records]))


def clip_path(name: str, ending: str) -> Path:
    """A file of a set of clips."""
    return DATA / "phrases" / f"{name}{ending}"


def is_written(name: str) -> bool:
    """Whether data/phrases holds these clips; the records are written last."""
    return clip_path(name, ".json").exists()


def load_clips(name: str, command: str) -> tuple[list[ClipRecord], np.ndarray]:
    """Records, and memory-mapped samples in int16, that `python -m recipes.phrases.COMMAND` has written.

    Raises:
        SystemExit: They are missing.
    """
    if not is_written(name):
        raise SystemExit(f"{clip_path(name, '.json')} is missing; run python -m recipes.phrases.{command} first.")
    records = json.loads(clip_path(name, ".json").read_text())
    samples = np.load(clip_path(name, ".npy"), mmap_mode="r")
    return [ClipRecord(**record) for record in records], samples
