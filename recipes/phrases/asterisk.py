"""The test recordings: prompts of the asterisk telephone exchange, the same ones spoken by two people.

Their licences keep them out of training.
"""

import re
from pathlib import Path

from ..debian_audio import PACKAGES

SPEAKER_PAIRS = {  # language -> two packages in which two people say the same phrases
    "it": ("asterisk-core-sounds-it-g722", "asterisk-prompt-it-menardi-wav"),
    "fr": ("asterisk-core-sounds-fr-g722", "asterisk-prompt-fr-armelle"),
    "es": ("asterisk-core-sounds-es-g722", "asterisk-prompt-es-co"),
}
NUMBER_SPEAKERS = {  # language -> packages with recordings of the number words
    "en": ("asterisk-core-sounds-en-g722",),
    **SPEAKER_PAIRS,
    "ru": ("asterisk-core-sounds-ru-g722",),
}
TEST_PACKAGES = [package for packages in NUMBER_SPEAKERS.values() for package in packages]
NUMBERS = [*range(20), *range(20, 100, 10)]
NOT_SPEECH = re.compile("silence/|beep|ascending|descending|tt-monkeys$")


def prompts(package: str) -> dict[str, Path]:
    """The recordings of a package by their names below the speaker's folder: digits/1, letters/a, vm-deleted."""
    paths = [path for path in (PACKAGES / package).rglob("*") if path.suffix in (".g722", ".gsm", ".wav")]
    return {path.as_posix().split("/sounds/")[1].split("/", 1)[1].rsplit(".", 1)[0]: path for path in paths}


def prompt_pairs(language: str) -> list[tuple[Path, Path]]:
    """The recordings of the same prompt by both speakers of a language, in the order of the prompts' names."""
    first, second = map(prompts, SPEAKER_PAIRS[language])
    shared = sorted(first.keys() & second.keys())
    return [(first[name], second[name]) for name in shared if not NOT_SPEECH.match(name)]
