"""The training packages: recordings with their texts, speech without, and words of the dialogues to synthesize."""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TRAINING_PACKAGES = ["fillets-ng-data", "fillets-ng-data-cs", "fillets-ng-data-nl", "tuxpaint-stamps-default"]
UNLABELLED_PACKAGES = ["klettres-data", "ktuberling-data"]  # letters, syllables and words; GPL-2 or newer
DIALOGUE_LANGUAGES = ("cs", "nl")  # in which Fish Fillets is spoken
STAMP_LANGUAGES = ("ro", "ru", "fr", "es", "bg")  # of Tux Paint, whose texts were found to match the recordings
WORD_LANGUAGES = ("cs", "de", "en", "es", "fr", "nl", "pl", "ru", "sl", "sv")


@dataclass(frozen=True, order=True)
class Transcript:
    """A recording and what is said in it."""

    path: Path
    text: str
    language: str
    voice: str


def transcripts(root: Path) -> list[Transcript]:
    """The recordings of the training packages below `root` that have a text, in the order of their paths."""
    return sorted([*_dialogues(root), *_stamps(root)])


def unlabelled(root: Path) -> list[Transcript]:
    """Speech without a text, each file called by its path, but for Italian, which stays unseen.

    Letters and syllables of KLettres and words of KTuberling, and the stamps of Tux Paint whose texts were found not to
    match.
    """
    files = [path for package in UNLABELLED_PACKAGES for path in (root / package).rglob("*")]
    found = [(path, _language_of(path)) for path in files if path.suffix in (".ogg", ".wav", ".opus")]
    stamps = [(path, path.name.split("_desc_")[1].split(".")[0]) for path in _stamp_files(root)]
    found += [(path, language) for path, language in stamps if language not in STAMP_LANGUAGES]
    clips = []
    for path, language in found:
        if language not in ("", "it"):
            name = path.relative_to(root).as_posix()
            clips.append(Transcript(path, name, language, f"{language}-{name.split('-')[0]}"))
    return sorted(clips)


def word_texts(root: Path, number: int, generator: random.Random) -> list[tuple[str, str]]:
    """(text, language) of `number` texts for each language: 60 % words, 40 % pairs of neighbouring words."""
    chosen = []
    for language in WORD_LANGUAGES:
        singles, pairs = set(), set()
        # The English text stands in the first line of each entry, the other languages in the second.
        pattern = r'dialogId\("[^"]+", "[^"]*", "(.*?)"\)' if language == "en" else r'dialogStr\("(.*?)"\)'
        for script in _scripts(root, language):
            for text in re.findall(pattern, script.read_text(encoding="utf-8"), re.DOTALL):
                words = re.findall(r"[^\W\d_]{2,}", text.lower())
                singles.update(words)
                pairs.update(map(" ".join, zip(words, words[1:], strict=False)))
        for texts, share in ((singles, 0.6), (pairs, 0.4)):
            sample = generator.sample(sorted(texts), min(len(texts), round(share * number)))
            chosen += [(text, language) for text in sample]
    return chosen


def _language_of(path: Path) -> str:
    """The folder's name of a language in klettres/LANGUAGE/ or ktuberling/sounds/LANGUAGE/; "" for other files."""
    match = re.search(r"/(?:klettres|ktuberling/sounds)/([^/]+)/", path.as_posix())
    return match[1].split("_")[0].split("@")[0] if match else ""


def _stamp_files(root: Path) -> Iterator[Path]:
    return (root / "tuxpaint-stamps-default").rglob("*_desc_*.ogg")


def _scripts(root: Path, language: str) -> Iterator[Path]:
    return (root / "fillets-ng-data").rglob(f"dialogs_{language}.lua")


def _dialogues(root: Path) -> Iterator[Transcript]:
    """Fish Fillets: a script for each level names the character (`font_big`) and the text of each recording."""
    pattern = r'dialogId\("([^"]+)", "([^"]*)".*?\)\s*dialogStr\("(.*?)"\)'
    for language in DIALOGUE_LANGUAGES:
        lines = {}  # (level, recording) -> (character, text)
        for script in _scripts(root, language):
            for name, font, text in re.findall(pattern, script.read_text(encoding="utf-8"), re.DOTALL):
                lines[script.parent.name, name] = (font.removeprefix("font_"), text)
        for path in (root / f"fillets-ng-data-{language}").rglob("*.ogg"):
            if line := lines.get((path.parent.parent.name, path.stem)):
                character, text = line
                yield Transcript(path, text, language, f"{language}-{character}")


def _stamps(root: Path) -> Iterator[Transcript]:
    """Tux Paint: `cat_desc_fr.ogg` says the text of the line `fr.utf8=` in `cat.txt`."""
    for path in _stamp_files(root):
        stamp, language = path.stem.split("_desc_")
        texts = path.with_name(f"{stamp}.txt")
        if language not in STAMP_LANGUAGES or not texts.is_file():
            continue
        lines = texts.read_text(encoding="utf-8", errors="replace").splitlines()
        if text := next((line.split("=", 1)[1] for line in lines if line.startswith(f"{language}.utf8=")), ""):
            yield Transcript(path, text, language, f"{language}-stamps")
