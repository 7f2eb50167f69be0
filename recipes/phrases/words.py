"""Cuts words out of the training recordings: short phrases spoken by people.

    python -m recipes.phrases.prepare
    python -m recipes.phrases.words      # 5 minutes; adds words.npy and words.json to data/phrases

espeak-ng reports when each word of a synthesized clip begins, and dynamic time warping of MFCCs maps these times to the
recording.
"""

import functools
import multiprocessing

import numpy as np
import torch
import typer
from rich.progress import track

from modeling_audio_branch.cli.common import exit_on_error
from modeling_audio_branch.disk import DiskError

from ..debian_audio import PACKAGES
from .clips import ClipWriter, is_written
from .cutting import cut_words
from .espeak import Espeak
from .transcripts import Transcript, transcripts


@functools.cache
def process_espeak() -> Espeak:
    """The one instance of this process."""
    return Espeak()


def cut(transcript: Transcript) -> list[tuple[str, np.ndarray]]:
    """(text, samples) of runs of words of a recording."""
    return cut_words(transcript, process_espeak())


def main() -> None:
    """Cuts words out of the training recordings."""
    if is_written("words"):
        print("data/phrases/words.json already exists.")
        return
    writer, recordings = ClipWriter(), transcripts(PACKAGES)
    with multiprocessing.get_context("spawn").Pool(2, torch.set_num_threads, (1,)) as pool:
        runs = track(pool.imap(cut, recordings, 16), "Cutting words", len(recordings))
        for recording, found in zip(recordings, runs, strict=True):
            for text, samples in found:
                writer.add(samples, text, recording.language, recording.voice)
    with exit_on_error(DiskError):
        writer.save("words")
    print(f"{len(writer.records)} runs of words cut out.")


if __name__ == "__main__":
    typer.run(main)
