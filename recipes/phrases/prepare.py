"""Installs the recordings for training and test, and synthesizes their texts with espeak-ng.

    pip install '.[train]' av espeakng-loader
    python -m recipes.phrases.prepare      # 0.4 GB of Debian packages, 15 minutes, 1.5 GB in data/phrases

Writes data/phrases/train.npy and train.json (see clips.py). Completed steps are not repeated.
"""

import random
from typing import Annotated

import torch
import typer
from rich.progress import track

from modeling_audio_branch.cli.common import exit_on_error
from modeling_audio_branch.disk import DiskError

from ..debian_audio import KAJONGG, PACKAGES, install
from .asterisk import SPEAKER_PAIRS, TEST_PACKAGES, prompt_pairs
from .audio import MAX_SECONDS, MIN_SECONDS, SAMPLE_RATE, decode, trim_and_normalize
from .clips import ClipWriter, is_written
from .espeak import Espeak, synthesize_voices
from .transcripts import TRAINING_PACKAGES, transcripts, word_texts


class TrainingClips:
    """Collects recordings of allowed length and, for each new text, synthesized clips of it."""

    def __init__(self, voices: int):
        self.writer, self.voices = ClipWriter(), voices
        self.espeak, self.generator = Espeak(), random.Random(0)
        self._texts = set()

    def add_recording(self, samples, text: str, language: str, voice: str) -> bool:
        """Whether the recording was added: it may be too short or too long."""
        is_new = (language, text) not in self._texts
        if not self._add(trim_and_normalize(samples), text, language, voice):
            return False
        if is_new:
            self._texts.add((language, text))
            self.add_synthesized(text, language)
        return True

    def add_synthesized(self, text: str, language: str) -> None:
        for voice, samples in synthesize_voices(self.espeak, text, language, self.voices, self.generator):
            self._add(samples, text, language, voice)

    def _add(self, samples, text, language, voice):
        is_allowed = MIN_SECONDS * SAMPLE_RATE <= len(samples) <= MAX_SECONDS * SAMPLE_RATE
        if is_allowed:
            self.writer.add(samples, text, language, voice)
        return is_allowed


def main(
    voices: Annotated[int, typer.Option(help="espeak-ng voices for each text")] = 4,
    words: Annotated[int, typer.Option(help="Texts of one or two words in each language")] = 1500,
) -> None:
    """Installs the recordings for training and test, and synthesizes their texts with espeak-ng."""
    torch.set_num_threads(2)
    install([*TRAINING_PACKAGES, KAJONGG, *TEST_PACKAGES], PACKAGES)
    if is_written("train"):
        print("data/phrases/train.json already exists.")
        return
    clips, skipped = TrainingClips(voices), 0
    for each in track(transcripts(PACKAGES), "Decoding and synthesizing"):
        try:
            samples = decode(each.path)
        except ValueError:  # a file without samples
            skipped += 1
            continue
        skipped += not clips.add_recording(samples, each.text, each.language, each.voice)
    for text, language in track(word_texts(PACKAGES, words, clips.generator), "Synthesizing words"):
        clips.add_synthesized(text, language)
    with exit_on_error(DiskError):
        clips.writer.save("train")
    records = clips.writer.records
    humans = [record for record in records if not record.is_synthesized]
    hours = sum(record.length for record in humans) / SAMPLE_RATE / 3600
    print(
        f"{len(humans)} recordings ({hours:.2f} h), {len(records) - len(humans)} synthesized clips; {skipped} skipped."
    )
    for language in SPEAKER_PAIRS:
        print(f"Test pairs in {language}: {len(prompt_pairs(language))}")


if __name__ == "__main__":
    typer.run(main)
