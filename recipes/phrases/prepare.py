"""Installs the recordings for training and test, and decodes those for training.

    pip install '.[train]' av espeakng-loader
    python -m recipes.phrases.prepare      # 0.5 GB of Debian packages, 5 minutes

Writes to data/phrases (see clips.py): `recordings`, which have a text, and `unlabelled` speech. Completed steps are not
repeated.
"""

import multiprocessing
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import typer
from rich.progress import track

from modeling_audio_branch.cli.common import exit_on_error
from modeling_audio_branch.disk import DiskError

from ..debian_audio import KAJONGG, PACKAGES, install
from .asterisk import SPEAKER_PAIRS, TEST_PACKAGES, prompt_pairs
from .audio import MAX_SECONDS, MIN_SECONDS, SAMPLE_RATE, decode, trim_and_normalize
from .clips import ClipWriter, is_written
from .development import GCIN
from .transcripts import TRAINING_PACKAGES, UNLABELLED_PACKAGES, Transcript, transcripts, unlabelled


def read_clip(path: Path) -> np.ndarray | None:
    """A recording, trimmed and normalized; None: it has no samples, or is shorter or longer than a training clip."""
    try:
        samples = trim_and_normalize(decode(path))
    except ValueError:  # a file without samples
        return None
    is_allowed = MIN_SECONDS * SAMPLE_RATE <= len(samples) <= MAX_SECONDS * SAMPLE_RATE
    return samples if is_allowed else None


def write_recordings(name: str, recordings: Iterable[Transcript]) -> None:
    """Decodes recordings to data/phrases/NAME, unless they are there."""
    if is_written(name):
        print(f"data/phrases/{name}.json already exists.")
        return
    writer, recordings = ClipWriter(), [*recordings]
    with multiprocessing.get_context("spawn").Pool(2, torch.set_num_threads, (1,)) as pool:
        clips = pool.imap(read_clip, [each.path for each in recordings], 16)
        for each, samples in zip(recordings, track(clips, f"Decoding {name}", len(recordings)), strict=True):
            if samples is not None:
                writer.add(samples, each.text, each.language, each.voice)
    with exit_on_error(DiskError):
        writer.save(name)
    hours = sum(record.length for record in writer.records) / SAMPLE_RATE / 3600
    print(f"{name}: {len(writer.records)} clips ({hours:.2f} h); {len(recordings) - len(writer.records)} skipped.")


def main() -> None:
    """Installs the recordings for training and test, and decodes those for training."""
    install([*TRAINING_PACKAGES, *UNLABELLED_PACKAGES, KAJONGG, GCIN, *TEST_PACKAGES], PACKAGES)
    write_recordings("recordings", transcripts(PACKAGES))
    write_recordings("unlabelled", unlabelled(PACKAGES))
    for language in SPEAKER_PAIRS:
        print(f"Test pairs in {language}: {len(prompt_pairs(language))}")


if __name__ == "__main__":
    typer.run(main)
