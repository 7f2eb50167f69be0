"""Texts that anybody may use, to be spoken by synthesizers: names and phrases of Unicode's CLDR (through Babel, under
the Unicode licence), number words, and what Django says to its users (BSD).

None of them comes from a recording. Words that the test says too (numbers, names of countries) are among them, as they
are among the words of any language.
"""

import datetime
import random
import re
from collections.abc import Iterator
from pathlib import Path

LANGUAGES = (  # as espeak-ng and CLDR call them. Italian is left out: the test's Italian stays an unseen language.
    *("bg", "ca", "cs", "da", "de", "el", "en", "es", "fi", "fr", "hu", "lt", "nl", "pl", "pt", "ro"),
    *("ru", "sk", "sl", "sv", "tr", "uk"),
)
MAX_CHARACTERS = 45  # about 4 s of speech
MESSAGE = re.compile(rf"[^\W\d_][^\d%{{}}<>()\[\]|/\\_=@#*&\n]{{1,{MAX_CHARACTERS - 1}}}")  # of Django: plain words
SHARES = {"name": 0.3, "number": 0.3, "date": 0.1, "time": 0.05, "unit": 0.1, "pair": 0.15}
UNITS = ("kilometer", "meter", "minute", "hour", "day", "week", "month", "year", "kilogram", "liter", "degree", "byte")


def free_texts(language: str, number: int) -> list[str]:
    """`number` different texts of a language, always the same ones, of one to about seven words.

    Raises:
        ValueError: The language is none of `LANGUAGES`.
    """
    _check(language)
    generator = random.Random(f"texts {language}")
    texts = dict.fromkeys(numeral(value, language) for value in range(101))
    for text in _endless(language, generator):
        if len(texts) >= number:
            break
        if 2 <= len(text) <= MAX_CHARACTERS and not re.search(r"\d", text):
            texts[text] = None
    return list(texts)[:number]


def messages(language: str) -> list[str]:
    """The words, phrases and sentences of Django's translations, without those that are filled in with a name.

    Raises:
        ValueError: The language is none of `LANGUAGES`.
    """
    import django
    from babel.messages.mofile import read_mo

    _check(language)
    translated = language if language != "en" else LANGUAGES[0]  # Django's own language has no translations
    texts = set()
    for path in Path(django.__file__).parent.rglob(f"locale/{translated}/LC_MESSAGES/*.mo"):
        with path.open("rb") as file:
            for message in read_mo(file):
                text = message.id if language == "en" else message.string
                if isinstance(text, str) and MESSAGE.fullmatch(text):  # not one for each grammatical number
                    texts.add(text.strip())
    return sorted(texts)


def _check(language):
    if language not in LANGUAGES:
        raise ValueError(f"There are no texts in {language!r}; give one of {', '.join(LANGUAGES)}.")


def numeral(value: int, language: str) -> str:
    """A number in words, as num2words writes it; in digits where it lacks the language, which espeak-ng reads."""
    from num2words import CONVERTER_CLASSES, num2words

    return num2words(value, lang=language) if language in CONVERTER_CLASSES else str(value)


def _endless(language: str, generator: random.Random) -> Iterator[str]:
    from babel import Locale, dates, units

    locale = Locale.parse(language)
    names = [*locale.territories.values(), *locale.languages.values(), *locale.currencies.values()]
    names = sorted({re.sub(r"\s*\(.*?\)", "", name) for name in names})
    kinds, weights = zip(*SHARES.items(), strict=True)
    while True:
        kind = generator.choices(kinds, weights)[0]
        if kind == "name":
            text = generator.choice(names)
        elif kind == "pair":
            text = ", ".join(generator.sample(names, 2))
        elif kind == "number":
            text = numeral(generator.randrange(10 ** generator.randint(2, 5)), language)
        elif kind == "date":
            day = datetime.date(2000, 1, 1) + datetime.timedelta(generator.randrange(20000))
            text = dates.format_date(day, generator.choice(("EEEE d MMMM", "d MMMM", "MMMM", "EEEE")), locale=language)
        elif kind == "time":
            delta = datetime.timedelta(seconds=generator.choice((60, 3600, 86400)) * generator.randint(-59, 59))
            text = dates.format_timedelta(delta, add_direction=True, locale=language)
        else:
            value = generator.randrange(2, 100)
            text = units.format_unit(value, generator.choice(UNITS), locale=language)
        yield re.sub(r"\d+", lambda digits: numeral(int(digits.group()), language), text).replace(".", "")
