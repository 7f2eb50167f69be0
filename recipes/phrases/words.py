"""Cuts words out of the training recordings: short phrases spoken by people.

    python -m recipes.phrases.prepare
    python -m recipes.phrases.words      # 6 minutes; adds words.npy and words.json to data/phrases

espeak-ng reports when each word of a synthesized clip begins, and dynamic time warping of MFCCs maps these times to the
recording. Each new text is also synthesized by itself.
"""

import functools
import multiprocessing
import random
import zlib
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import typer
from rich.progress import track

from modeling_audio_branch.cli.common import exit_on_error
from modeling_audio_branch.disk import DiskError

from ..debian_audio import PACKAGES
from .audio import MIN_SECONDS, SAMPLE_RATE
from .clips import ClipWriter, is_written
from .cutting import cut_words
from .espeak import Espeak, synthesize_voices
from .transcripts import Transcript, transcripts


@dataclass(frozen=True)
class SynthesisJob:
    text: str
    language: str
    voices: int


@functools.cache
def process_espeak() -> Espeak:
    """The one instance of this process."""
    return Espeak()


def cut(transcript: Transcript) -> list[tuple[str, np.ndarray]]:
    """(text, samples) of runs of words of a recording."""
    return cut_words(transcript, process_espeak())


def synthesize(job: SynthesisJob) -> list[tuple[str, np.ndarray]]:
    """(voice, samples) of a text; clips that are too short are left out."""
    generator = random.Random(zlib.crc32(f"{job.language} {job.text}".encode()))
    clips = synthesize_voices(process_espeak(), job.text, job.language, job.voices, generator)
    return [(voice, samples) for voice, samples in clips if len(samples) >= MIN_SECONDS * SAMPLE_RATE]


def main(voices: Annotated[int, typer.Option(help="espeak-ng voices for each run of words")] = 2) -> None:
    """Cuts words out of the training recordings, and synthesizes the new texts with espeak-ng."""
    if is_written("words"):
        print("data/phrases/words.json already exists.")
        return
    writer, recordings = ClipWriter(), transcripts(PACKAGES)
    with multiprocessing.get_context("spawn").Pool(2, torch.set_num_threads, (1,)) as pool:
        runs = track(pool.imap(cut, recordings, 16), "Cutting words", len(recordings))
        for recording, found in zip(recordings, runs, strict=True):
            for text, samples in found:
                writer.add(samples, text, recording.language, recording.voice)
        humans = len(writer.records)
        jobs = [*dict.fromkeys(SynthesisJob(record.text, record.language, voices) for record in writer.records)]
        clips = track(pool.imap(synthesize, jobs, 16), "Synthesizing", len(jobs))
        for job, found in zip(jobs, clips, strict=True):
            for voice, samples in found:
                writer.add(samples, job.text, job.language, voice)
    with exit_on_error(DiskError):
        writer.save("words")
    print(f"{humans} runs of words cut out, {len(writer.records) - humans} synthesized clips of {len(jobs)} texts.")


if __name__ == "__main__":
    typer.run(main)
