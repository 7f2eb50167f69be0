"""A README.md as sections: reading the one of a folder, and adding the sections that are written for the upload.

A section that the upload writes begins with MARKER, so that the next upload knows it and writes it anew. All other
sections are the publisher's own words, and stay as they are.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from .errors import CardError, first_line

MARKER = "<!-- audio-branch push writes this section anew; delete this line to keep your own words. -->"
# Cards that nobody has written: Trainer's and the one of transformers' push_to_hub. Only their metadata counts.
FILLED_IN = ("generated automatically according to the information the Trainer", "[More Information Needed]")
METADATA = re.compile(r"\A\s*---[ \t]*\n(.*?\n)?---[ \t]*(?:\n|\Z)", re.DOTALL)
HEADING = re.compile(r"##? +(.+?) *#*")
FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
FROM_RESULTS = ("Results", "Training data")  # sections that results.json fills
# Headings of own sections that say the same as one of ours.
SAME_SUBJECT = {
    "Results": r"results?|evaluation|performance",
    "Training data": r"training data|data|datasets?",
    "Limits": r"limit|limitations?|bias|intended use|out-of-scope",
    "Citation": r"citations?|cite|citing|how to cite|bibtex",
    "Versions": r"versions?",
}


@dataclass
class Section:
    title: str
    text: str  # with its heading

    @property
    def is_generated(self) -> bool:
        return MARKER in self.text


@dataclass
class Card:
    """A README.md: its metadata, what stands before its first section, and its sections."""

    metadata: dict = field(default_factory=dict)
    intro: str = ""
    sections: list[Section] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n\n".join([self.intro, *(section.text for section in self.sections)]) + "\n"


def read_card(path: Path) -> Card:
    """Reads a README.md; a missing one is an empty card.

    Raises:
        CardError: The file cannot be read, is not UTF-8, or its metadata is not a YAML object.
    """
    if not path.is_file():
        return Card()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CardError(f"{path} cannot be read ({error.strerror}); make it readable, or move it away.") from error
    except UnicodeDecodeError as error:
        raise CardError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8.") from error
    block = METADATA.match(text)
    try:
        metadata = yaml.safe_load(block[1] or "") if block else None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: an impossible date
        raise CardError(f"{path} has metadata that is not YAML ({first_line(error)}); correct it.") from error
    if not isinstance(metadata or {}, dict) or not all(isinstance(key, str) for key in metadata or {}):
        raise CardError(f"{path} has metadata that is not an object of named values; correct it.")
    card = split_card(text[block.end() :] if block else text)
    card.metadata = metadata or {}
    return card


def split_card(text: str) -> Card:
    """The intro and the sections of Markdown. A section begins with a heading of the first or second level.

    The first heading of the first level is the title, which is part of the intro.
    """
    parts, titles, fence = [[]], [], None
    for line in text.strip().splitlines():
        mark = FENCE.match(line)
        if fence is None and mark:
            fence = mark[1]
        elif fence is not None and line.strip().startswith(fence) and not line.strip().strip(fence[0]):
            fence = None
        heading = HEADING.fullmatch(line) if fence is None else None
        is_title = (
            heading and not titles and line.startswith("# ") and not any(each.startswith("# ") for each in parts[0])
        )
        if heading and not is_title:
            titles.append(heading[1])
            parts.append([])
        parts[-1].append(line)
    intro, *sections = ("\n".join(lines).strip("\n") for lines in parts)
    if any(words in text for words in FILLED_IN):
        return Card()
    return Card(intro=intro, sections=[Section(*each) for each in zip(titles, sections, strict=True)])


def mark_as_generated(card: Card) -> Card:
    """The same card with MARKER below the title and below the heading of each section."""

    def marked(text: str) -> str:
        heading, *lines = text.splitlines()
        return "\n".join([heading, "", MARKER, *lines])

    sections = [Section(section.title, marked(section.text)) for section in card.sections]
    return Card(card.metadata, marked(card.intro), sections)


def merge(own: Card, generated: Card, has_results: bool) -> Card:
    """The folder's own words, and the generated sections on what they don't cover.

    Args:
        own: The folder's card.
        generated: The card written for the upload. Its metadata holds.
        has_results: Whether results are known. Without them, a card with words of its own gets no section that says
            that there are none, and the results of an earlier upload stay.
    """
    marked = mark_as_generated(generated)
    own_intro = "" if MARKER in own.intro else own.intro
    own_words = [section for section in own.sections if not section.is_generated]
    earlier = {section.title for section in own.sections if section.is_generated}
    new = {section.title: section for section in marked.sections}
    if not has_results:
        new = {title: each for title, each in new.items() if title not in FROM_RESULTS or not (own_words or earlier)}
    for title in list(new):
        if any(_is_same_subject(title, section.title) for section in own_words):
            del new[title]
    sections = [new.get(section.title, section) if section.is_generated else section for section in own.sections]
    known = {*new, *FROM_RESULTS}
    sections = [section for section in sections if not section.is_generated or section.title in known]
    _insert_missing(sections, new, [section.title for section in generated.sections])
    return Card(generated.metadata, own_intro or marked.intro, sections)


def _insert_missing(sections: list[Section], new: dict[str, Section], order: list[str]) -> None:
    """Inserts the new sections that are not there yet, each behind its predecessor in the order."""
    position = 0
    for title in order:
        there = [
            index
            for index, section in enumerate(sections)
            if section.title == title or (title not in new and _is_same_subject(title, section.title))
        ]
        if there:
            position = there[0] + 1
        elif title in new:
            sections.insert(position, new[title])
            position += 1


def _is_same_subject(title: str, own_title: str) -> bool:
    subject = SAME_SUBJECT.get(title)
    return bool(subject and re.match(rf"\W*({subject})\b", own_title, re.IGNORECASE))
