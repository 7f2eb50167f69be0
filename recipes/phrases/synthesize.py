"""Speaks texts with espeak-ng: free ones, and, if asked for, those of the recordings.

    python -m recipes.phrases.synthesize      # four minutes on two cores; adds `free` to data/phrases

Each text is spoken by several voices, at random speeds and pitches that depend on the text alone.
"""

import functools
import multiprocessing
import random
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import typer
from rich.progress import track

from modeling_audio_branch.cli.common import exit_on_error
from modeling_audio_branch.disk import DiskError

from ..debian_audio import PACKAGES
from .audio import MAX_SECONDS, MIN_SECONDS, SAMPLE_RATE
from .clips import ClipWriter, is_written, load_clips
from .espeak import Espeak, synthesize_voices
from .free_texts import LANGUAGES, free_texts, messages
from .transcripts import word_texts


@dataclass(frozen=True)
class SynthesisJob:
    text: str
    language: str
    voices: int


@functools.cache
def process_espeak() -> Espeak:
    """The one instance of this process."""
    return Espeak()


def synthesize(job: SynthesisJob) -> list[tuple[str, np.ndarray]]:
    """(voice, samples) of a text; clips that are too short or too long are left out."""
    generator = random.Random(zlib.crc32(f"{job.language} {job.text}".encode()))
    clips = synthesize_voices(process_espeak(), job.text, job.language, job.voices, generator)
    return [clip for clip in clips if MIN_SECONDS * SAMPLE_RATE <= len(clip[1]) <= MAX_SECONDS * SAMPLE_RATE]


def texts_of_recordings(voices: int, words: int) -> list[SynthesisJob]:
    """Texts of the recordings, of the words cut out of them, and `words` of the dialogues in each of ten languages."""
    jobs = {}
    for name, command in (("recordings", "prepare"), ("words", "words")):
        for record in load_clips(name, command)[0]:
            jobs[record.language, record.text] = voices
    for text, language in word_texts(PACKAGES, words, random.Random(0)):
        jobs.setdefault((language, text), voices)
    return [SynthesisJob(text, language, number) for (language, text), number in jobs.items()]


def write_clips(name: str, jobs: Iterable[SynthesisJob], processes: int) -> None:
    """Speaks texts to data/phrases/NAME, unless they are there."""
    if is_written(name):
        print(f"data/phrases/{name}.json already exists.")
        return
    writer, jobs = ClipWriter(), [*jobs]
    with multiprocessing.get_context("fork").Pool(processes, torch.set_num_threads, (1,)) as pool:
        spoken = track(pool.imap(synthesize, jobs, 16), f"Synthesizing {name}", len(jobs))
        for job, clips in zip(jobs, spoken, strict=True):
            for voice, samples in clips:
                writer.add(samples, job.text, job.language, voice)
    with exit_on_error(DiskError):
        writer.save(name)
    print(f"{name}: {len(writer.records)} clips of {len(jobs)} texts.")


def main(
    voices: Annotated[int, typer.Option(help="espeak-ng voices for each text")] = 4,
    words: Annotated[int, typer.Option(help="Texts of one or two words in each language")] = 300,
    free: Annotated[int, typer.Option(help="Free texts in each language")] = 600,
    processes: Annotated[int, typer.Option(help="That synthesize at a time")] = 2,
    recordings: Annotated[
        bool, typer.Option(help="Also speak the texts of recordings and words: `synthesized`")
    ] = False,
) -> None:
    """Speaks texts with espeak-ng."""
    if recordings:
        write_clips("synthesized", texts_of_recordings(voices, words), processes)
    texts = {language: [*free_texts(language, free), *messages(language)] for language in LANGUAGES}
    jobs = (SynthesisJob(text, language, voices) for language in texts for text in dict.fromkeys(texts[language]))
    write_clips("free", jobs, processes)


if __name__ == "__main__":
    typer.run(main)
