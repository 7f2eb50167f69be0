"""Hours of recordings in which phrases were laid, with what is said where.

    python -m recipes.phrases.prepare      # or data/root of any recipe: the recordings come from Debian packages
    python -m benchmarks.haystacks         # writes 5.4 hours to data/haystacks

Six speakers, two of each language, whom no training heard (see recipes/phrases). A tape of about 10 minutes is one
speaker's prompts of the telephone exchange in random order, with pauses of 0.2 to 1.4 s; each prompt is on two tapes of
its speaker. A third of the tapes is clean, a third has pink noise below the speech, a third music, both 15 dB below it.
All is at 8 kHz, the rate of half of the recordings.
"""

import json
import random
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import typer
from rich.progress import track

from modeling_audio_branch.hub.writing import replaced_file
from recipes.debian_audio import DATA, PACKAGES, install
from recipes.phrases.asterisk import NOT_SPEECH, SPEAKER_PAIRS, prompts
from recipes.phrases.audio import SAMPLE_RATE, decode, speech_span

HAYSTACKS = DATA / "haystacks"
MUSIC = "asterisk-moh-opsound-wav"  # CC-BY-SA-3.0
TAPE_SECONDS, RENDITIONS = 600, 2
PAUSES = 0.2, 1.4  # seconds
BACKGROUNDS = "clean", "noise", "music"
DECIBELS_BELOW = 15  # the background, below the mean power of the speech
MIN_PHRASE, MAX_PHRASE = 0.8, 6.0  # seconds of a phrase that is sought
QUERIES = 220  # of each language, by both speakers


@dataclass(frozen=True)
class Phrase:
    """A prompt on a tape: its name, and where its speech starts and ends in seconds."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Tape:
    """A recording of one speaker, and the phrases in it."""

    path: Path
    language: str
    speaker: str
    background: str
    phrases: list[Phrase]


@dataclass(frozen=True)
class Query:
    """A phrase that is sought in the recordings of the other speaker of its language."""

    name: str
    language: str
    speaker: str
    sought_speaker: str
    samples: np.ndarray  # (L,) at 8 kHz, trimmed to the speech


def load_tapes() -> list[Tape]:
    """The tapes that `python -m benchmarks.haystacks` wrote.

    Raises:
        SystemExit: They are missing.
    """
    index = HAYSTACKS / "tapes.json"
    if not index.exists():
        raise SystemExit(f"{index} is missing; run python -m benchmarks.haystacks first.")
    tapes = json.loads(index.read_text())
    return [
        Tape(HAYSTACKS / tape.pop("path"), phrases=[Phrase(**each) for each in tape.pop("phrases")], **tape)
        for tape in tapes
    ]


def load_queries(language: str, count: int = QUERIES) -> list[Query]:
    """Phrases of a language that both of its speakers say in 0.8 to 6 s, sought in both directions."""
    speakers = SPEAKER_PAIRS[language]
    both = [_speech(package) for package in speakers]
    names = [
        name
        for name in sorted(both[0].keys() & both[1].keys())
        if all(MIN_PHRASE <= len(speech[name][0]) / SAMPLE_RATE <= MAX_PHRASE for speech in both)
    ]
    queries = [
        Query(name, language, speakers[i], speakers[1 - i], both[i][name][0]) for name in names for i in range(2)
    ]
    chosen = random.Random(0).sample(range(len(queries)), min(count, len(queries)))
    return [queries[i] for i in sorted(chosen)]


@cache
def _speech(package):
    """Of each prompt of a speaker: the samples of its speech, all samples, and where the speech is in them."""
    speech = {}
    for name, path in prompts(package).items():
        if NOT_SPEECH.match(name):
            continue
        try:
            samples = decode(path)
        except ValueError:  # files without samples
            continue
        span = speech_span(samples)
        if len(samples[span]) >= 0.1 * SAMPLE_RATE:
            speech[name] = samples[span], samples, span.start / SAMPLE_RATE
    return speech


def _tapes_of(package, generator):
    """Samples of each tape of a speaker and the phrases in it."""
    speech = _speech(package)
    for _ in range(RENDITIONS):
        names = sorted(speech)
        generator.shuffle(names)
        parts, phrases, length = [], [], 0
        for name in names:
            span, samples, offset = speech[name]
            start = length / SAMPLE_RATE + offset
            phrases.append(Phrase(name, round(start, 3), round(start + len(span) / SAMPLE_RATE, 3)))
            pause = np.zeros(int(generator.uniform(*PAUSES) * SAMPLE_RATE), np.float32)
            parts += [samples / max(1e-4, np.abs(samples).max(initial=0.0)) * 0.5, pause]
            length += len(samples) + len(pause)
            if length >= TAPE_SECONDS * SAMPLE_RATE or name == names[-1]:
                yield np.concatenate(parts), phrases
                parts, phrases, length = [], [], 0


def _background(kind, num_samples, music, rng):
    if kind == "music":
        first = rng.integers(len(music) - num_samples) if len(music) > num_samples else 0
        return np.resize(music[first:], num_samples)
    spectrum = np.fft.rfft(rng.standard_normal(num_samples))
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(len(spectrum)))), num_samples)  # pink


def _mixed(samples, kind, music, rng):
    if kind == "clean":
        return samples
    background = _background(kind, len(samples), music, rng)
    speech_power = np.square(samples[np.abs(samples) > 0.01]).mean()
    scale = np.sqrt(speech_power / np.square(background).mean()) * 10 ** (-DECIBELS_BELOW / 20)
    return np.clip(samples + scale * background, -1, 1)


def main() -> None:
    """Installs the recordings and writes the tapes."""
    install([*(each for pair in SPEAKER_PAIRS.values() for each in pair), MUSIC], PACKAGES)
    music = np.concatenate([decode(path) for path in sorted((PACKAGES / MUSIC).rglob("*.wav"))])
    generator, rng = random.Random(0), np.random.default_rng(0)
    tapes = []
    speakers = [(language, package) for language, pair in SPEAKER_PAIRS.items() for package in pair]
    for language, package in track(speakers, "Laying phrases"):
        for number, (samples, phrases) in enumerate(_tapes_of(package, generator)):
            background = BACKGROUNDS[number % len(BACKGROUNDS)]
            path = HAYSTACKS / f"{package}_{number:02d}.wav"
            with replaced_file(path) as file:
                mixed = _mixed(samples, background, music, rng)
                soundfile.write(file, mixed, SAMPLE_RATE, format="WAV", subtype="PCM_16")
            tapes.append(asdict(Tape(path.name, language, package, background, phrases)))
    with replaced_file(HAYSTACKS / "tapes.json") as file:
        file.write_text(json.dumps(tapes, indent=0))
    hours = sum(soundfile.info(HAYSTACKS / tape["path"]).duration for tape in tapes) / 3600
    typer.echo(f"{len(tapes)} tapes, {hours:.2f} hours, in {HAYSTACKS}")


if __name__ == "__main__":
    typer.run(main)
