"""Installs the recordings that the default checkpoint is trained and tested on, and renders their texts with espeak-ng.

    pip install av espeakng-loader
    python examples/phrases_data.py            # 0.4 GB of Debian packages, 15 minutes, 1.5 GB in data/phrases

Writes `train.npy`, all clips one behind the other at 8 kHz in int16, and `train.json`, a row for each: its place, its
text, language and voice. Training: human recordings of GPL-2 packages with their transcripts (Fish Fillets in
Czech and Dutch, Tux Paint in Romanian, Russian, French, Spanish and Bulgarian), renderings of the same texts, and
renderings of single words and pairs of words from the dialogues of Fish Fillets in ten languages. Test: phrases that
two people have recorded for the asterisk telephone exchange, whose licences keep them out of training. No Italian
text, and no rendering of one, is among the training clips. Settings are chosen on Kajongg's recordings, in which four
people say the same 42 phrases, in each of two languages. Finished steps are not repeated.
"""

import argparse
import ctypes
import itertools
import json
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

sys.path.insert(0, str(Path(__file__).parents[1]))
from modeling_audio_branch.audio_input import load_audio

RATE = 8000  # Hz: half of the recordings are telephone speech
DATA = Path(__file__).parents[1] / "data"
TRAINING = ["fillets-ng-data", "fillets-ng-data-cs", "fillets-ng-data-nl", "tuxpaint-stamps-default"]
DEVELOPMENT = "kajongg"  # four people, in each of two languages, say the 42 names of a game
TEST = [
    *("asterisk-core-sounds-it-g722", "asterisk-prompt-it-menardi-wav", "asterisk-core-sounds-fr-g722"),
    *("asterisk-prompt-fr-armelle", "asterisk-core-sounds-es-g722", "asterisk-prompt-es-co"),
    *("asterisk-core-sounds-en-g722", "asterisk-core-sounds-ru-g722"),
]
PAIRS = {  # the language, and two packages in which two people say the same phrases
    "it": ("asterisk-core-sounds-it-g722", "asterisk-prompt-it-menardi-wav"),
    "fr": ("asterisk-core-sounds-fr-g722", "asterisk-prompt-fr-armelle"),
    "es": ("asterisk-core-sounds-es-g722", "asterisk-prompt-es-co"),
}
NUMBERS = [*range(20), *range(20, 100, 10)]
STAMP_LANGUAGES = ("ro", "ru", "fr", "es", "bg")  # whose texts were found to match the recordings
WORD_LANGUAGES = ("cs", "de", "en", "es", "fr", "nl", "pl", "ru", "sl", "sv")
NOT_SPEECH = re.compile("silence/|beep|ascending|descending|tt-monkeys$")
UNLIKE_SPEECH = re.compile("whisper|robo|croak|demonic|tweaky|storm", re.IGNORECASE)  # of espeak-ng's voices
SHORTEST, LONGEST = 0.3, 6.5  # seconds, after trimming


def install(packages: list[str], folder: Path) -> None:
    """Unpacks Debian packages below `folder`, without installing them."""
    for package in track(packages, "Unpacking packages"):
        if (folder / package).exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"{package}_*.deb"):
            old.unlink()
        subprocess.run(["apt-get", "download", "-q", package], cwd=folder, check=True, capture_output=True)
        archive = next(folder.glob(f"{package}_*.deb"))
        subprocess.run(["dpkg-deb", "-x", archive.name, f"{package}.part"], cwd=folder, check=True)
        (folder / f"{package}.part").rename(folder / package)
        archive.unlink()


def decode(path: Path) -> np.ndarray:
    """A file's samples at 8 kHz; g722 is read with PyAV, which soundfile can't."""
    if path.suffix != ".g722":
        return load_audio(path, RATE).numpy()
    import av

    with av.open(str(path), format="g722") as container:
        frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    samples = np.concatenate(frames) if frames else np.zeros(0, np.int16)
    return load_audio(samples, RATE, sampling_rate=16000).numpy()


def edges(samples: np.ndarray, decibels: float = 35.0) -> slice:
    """Where the speech lies: from the first to the last frame of 20 ms that is not this far below the loudest."""
    size = RATE // 50
    if len(samples) < 2 * size:
        return slice(0, len(samples))
    power = np.square(samples[: len(samples) // size * size].reshape(-1, size)).mean(1)
    loud = np.flatnonzero(power > np.quantile(power, 0.98) * 10 ** (-decibels / 10))
    if not len(loud):
        return slice(0, len(samples))
    return slice(max(0, loud[0] - 1) * size, (loud[-1] + 2) * size)


def trim(samples: np.ndarray) -> np.ndarray:
    """Without what lies before and after the speech."""
    return samples[edges(samples)]


def speech(samples: np.ndarray) -> np.ndarray:
    """Trimmed to its speech, and as loud as it gets."""
    samples = trim(samples)
    return samples / max(1e-4, np.abs(samples).max(initial=0.0))


def transcripts(root: Path) -> list[tuple[Path, str, str, str]]:
    """(recording, text, language, voice) of the training packages."""
    found = []
    for language in ("cs", "nl"):
        texts = {}
        for script in (root / "fillets-ng-data").rglob(f"dialogs_{language}.lua"):
            pattern = r'dialogId\("([^"]+)", "([^"]*)".*?\)\s*dialogStr\("(.*?)"\)'
            for name, font, text in re.findall(pattern, script.read_text(encoding="utf-8"), re.DOTALL):
                texts[script.parent.name, name] = (font.removeprefix("font_"), text)
        for path in (root / f"fillets-ng-data-{language}").rglob("*.ogg"):
            if entry := texts.get((path.parent.parent.name, path.stem)):
                found.append((path, entry[1], language, f"{language}-{entry[0]}"))
    for path in (root / "tuxpaint-stamps-default").rglob("*_desc_*.ogg"):
        stamp, language = path.stem.split("_desc_")
        listing = path.with_name(f"{stamp}.txt")
        if language not in STAMP_LANGUAGES or not listing.is_file():
            continue
        lines = listing.read_text(encoding="utf-8", errors="replace").splitlines()
        if text := next((line.split("=", 1)[1] for line in lines if line.startswith(f"{language}.utf8=")), ""):
            found.append((path, text, language, f"{language}-stamps"))
    return sorted(found)


def words(root: Path, number: int, generator: random.Random) -> list[tuple[str, str]]:
    """(text, language): so many words and pairs of neighbouring words of each language's dialogues."""
    found = []
    for language in WORD_LANGUAGES:
        singles, pairs = set(), set()
        for script in (root / "fillets-ng-data").rglob(f"dialogs_{language}.lua"):
            # The English text stands in the first line of each entry, the others in the second.
            pattern = r'dialogId\("[^"]+", "[^"]*", "(.*?)"\)' if language == "en" else r'dialogStr\("(.*?)"\)'
            for text in re.findall(pattern, script.read_text(encoding="utf-8"), re.DOTALL):
                parts = re.findall(r"[^\W\d_]{2,}", text.lower())
                singles.update(parts)
                pairs.update(map(" ".join, zip(parts, parts[1:], strict=False)))
        for choices, share in ((singles, 0.6), (pairs, 0.4)):
            chosen = generator.sample(sorted(choices), min(len(choices), round(share * number)))
            found += [(text, language) for text in chosen]
    return found


class Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = [
        *((name, ctypes.c_int) for name in ("type", "message", "text_position", "length", "milliseconds", "sample")),
        *(("user_data", ctypes.c_void_p), ("id", ctypes.c_char * 8)),
    ]


class Espeak:
    """espeak-ng through ctypes: `say` gives the samples of a text at 8 kHz, `words` then what it knows of words.

    That is the place of a word in the text and when it begins (s). Some words it has none for: "na svet" may be one to
    it, and a number is many.
    """

    END, WORD = 0, 1  # types of events

    def __init__(self):
        import espeakng_loader

        self.library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path().encode()
        self.variants = [""]
        for path in sorted((Path(data.decode()) / "voices" / "!v").iterdir()):
            if not UNLIKE_SPEECH.search(path.name):
                self.variants.append(f"+{path.name}")
        self.rate = self.library.espeak_Initialize(2, 0, data, 0)  # 2: synchronous, to a callback
        self.blocks = []
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))
        self.callback = kind(self._take)
        self.library.espeak_SetSynthCallback(self.callback)

    def _take(self, samples, count, events):
        if samples and count:
            self.blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        for event in itertools.takewhile(lambda event: event.type != self.END, events):
            if event.type == self.WORD:
                self.words.append((event.text_position - 1, event.milliseconds / 1000))
        return 0

    def say(self, text: str, voice: str, words_per_minute: int, pitch: int) -> np.ndarray:
        if self.library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice}.")  # it would keep the one before
        self.library.espeak_SetParameter(1, words_per_minute, 0)
        self.library.espeak_SetParameter(3, pitch, 0)
        self.blocks, self.words, data = [], [], text.encode()
        self.library.espeak_Synth(data, len(data) + 1, 0, 1, 0, 1, None, None)
        self.library.espeak_Synchronize()
        samples = np.concatenate(self.blocks) if self.blocks else np.zeros(0, np.int16)
        return load_audio(samples, RATE, sampling_rate=self.rate).numpy()


def recordings(package: str) -> dict[str, Path]:
    """The prompts of a package by their names below the speaker's folder: digits/1, letters/a, vm-deleted."""
    paths = [path for path in (DATA / "root" / package).rglob("*") if path.suffix in (".g722", ".gsm", ".wav")]
    return {path.as_posix().split("/sounds/")[1].split("/", 1)[1].rsplit(".", 1)[0]: path for path in paths}


def test_pairs(language: str) -> list[tuple[Path, Path]]:
    """The recordings of the same prompt by both speakers of a language, in the order of their names."""
    first, second = map(recordings, PAIRS[language])
    shared = sorted(first.keys() & second.keys())
    return [(first[name], second[name]) for name in shared if not NOT_SPEECH.match(name)]


def development_phrases() -> list[list[list[Path]]]:
    """For each language, for each person, the recordings of the phrases that all four people say, in one order."""
    voices = DATA / "root" / DEVELOPMENT / "usr/share/kajongg/voices"
    languages = []
    for folder in (voices, voices / "de"):
        people = [folder / name for name in ("female1", "female2", "male1", "male2")]
        names = sorted(set.intersection(*({path.name for path in person.glob("*.ogg")} for person in people)))
        languages.append([[person / name for name in names] for person in people])
    return languages


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renderings", type=int, default=4, help="espeak-ng voices for each text")
    parser.add_argument("--words", type=int, default=1500, help="texts of one or two words in each language")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    install([*TRAINING, DEVELOPMENT, *TEST], DATA / "root")
    target = DATA / "phrases"
    target.mkdir(parents=True, exist_ok=True)
    if (target / "train.json").exists():
        print(f"{target / 'train.json'} is there already.")
        return

    rows, clips, place, known, skipped = [], [], 0, set(), 0
    espeak, generator = Espeak(), random.Random(0)

    def keep(samples, text, language, voice):
        nonlocal place
        samples = speech(samples)
        if not SHORTEST * RATE <= len(samples) <= LONGEST * RATE:
            return False
        clips.append((samples * 32000).astype(np.int16))
        known.add((language, text))
        rows.append({"start": place, "length": len(samples), "text": text, "language": language, "voice": voice})
        place += len(samples)
        return True

    def render(text, language):
        for variant in generator.sample(espeak.variants, arguments.renderings):
            speed, pitch = generator.randint(110, 240), generator.randint(20, 80)
            keep(espeak.say(text, language + variant, speed, pitch), text, language, f"espeak{variant}")

    for path, text, language, voice in track(transcripts(DATA / "root"), "Decoding and rendering"):
        try:
            samples = decode(path)
        except ValueError:  # a file without samples
            skipped += 1
            continue
        is_new = (language, text) not in known
        if not keep(samples, text, language, voice):
            skipped += 1
        elif is_new:
            render(text, language)
    for text, language in track(words(DATA / "root", arguments.words, generator), "Rendering words"):
        render(text, language)
    np.save(target / "train.npy", np.concatenate(clips))
    (target / "train.json").write_text(json.dumps(rows))
    humans = [row for row in rows if not row["voice"].startswith("espeak")]
    hours = sum(row["length"] for row in humans) / RATE / 3600
    print(f"{len(humans)} recordings ({hours:.2f} h), {len(rows) - len(humans)} renderings; {skipped} left out.")
    for language in PAIRS:
        print(f"Test pairs in {language}: {len(test_pairs(language))}")


if __name__ == "__main__":
    main()
