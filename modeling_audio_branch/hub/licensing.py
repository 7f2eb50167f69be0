"""The licences of a repository: that of the weights, which the checkpoint folder states, and that of the code."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .errors import UploadError

DEFAULT_LICENSE = "apache-2.0"
# The first words of licence texts, and the names of the licences on the Hub.
TITLES = {
    r"gnu affero general public license,? version (\d)": "agpl-{}.0",
    r"gnu lesser general public license,? version (\d(?:\.\d)?)": "lgpl-{}",
    r"gnu (?:library )?general public license,? version (\d)": "gpl-{}.0",
    r"apache license,? version (\d\.\d)": "apache-{}",
    r"(?:the )?mit license|permission is hereby granted, free of charge": "mit",
    r"mozilla public license,? version (\d\.\d)": "mpl-{}",
    r"(?:creative commons )?cc0 (\d\.\d) universal": "cc0-{}",
    r"attribution (\d\.\d) international": "cc-by-{}",
    r"attribution-sharealike (\d\.\d) international": "cc-by-sa-{}",
    r"attribution-noncommercial (\d\.\d) international": "cc-by-nc-{}",
    r"attribution-noncommercial-sharealike (\d\.\d) international": "cc-by-nc-sa-{}",
    r"attribution-noderivatives (\d\.\d) international": "cc-by-nd-{}",
    r"attribution-noncommercial-noderivatives (\d\.\d) international": "cc-by-nc-nd-{}",
}
FAMILIES = ("gpl", "lgpl", "agpl", "bsd", "cc")  # names on the Hub without a version
NOTICE = """\
The weights in this repository (*.safetensors) are under the licence {name}, in the names of the Hugging Face Hub:
https://huggingface.co/docs/hub/repositories-licenses

The code in this repository (*.py) is under the Apache License 2.0, whose text is in LICENSE-CODE.
"""


@dataclass
class WeightsLicense:
    """The licence of the weights: its name on the Hub, and its text if the checkpoint folder holds it."""

    name: str
    text: str | None = None

    @property
    def is_that_of_the_code(self) -> bool:
        return self.name.lower() == DEFAULT_LICENSE

    @property
    def code_file(self) -> str:
        """The file with the licence of the code."""
        return "LICENSE" if self.is_that_of_the_code else "LICENSE-CODE"


def weights_license(
    folder: Path, metadata: dict, code_license: str, given: str | None, may_change: Callable[[str], bool]
) -> WeightsLicense:
    """The licence that the folder states, or the given one.

    Args:
        folder: The checkpoint.
        metadata: That of its README.md.
        code_license: The text of the code's licence, which an earlier upload may have written to LICENSE.
        given: What the publisher gives as --license.
        may_change: Called with a question if the given licence contradicts the folder.

    Raises:
        UploadError: The folder contradicts itself, its licence is not known, or the answer is no.
    """
    text = _read_text(folder / "LICENSE")
    named = _stated_names(folder, metadata)
    recognized = recognize(text) if text else None
    if named and recognized and not _agree(recognized, *named):
        if text.strip() != code_license.strip():
            raise UploadError(
                f"{folder} contradicts itself: README.md says {' and '.join(named)}, and LICENSE is {recognized}; "
                f"correct one of them."
            )
        text = None
    stated = named or ([recognized] if recognized else [])
    if given is None:
        return WeightsLicense(_only_license(folder, named, recognized, text), text)
    if not stated or _agree(given, *stated):
        return WeightsLicense(given, text)
    source = folder / ("README.md" if named else "LICENSE")
    says = f"--license {given} was given, but {source} says {' and '.join(stated)}"
    if not may_change(f"{says}. Publish the weights under {given}?"):
        raise UploadError(f"{says}; leave --license out to keep that, or confirm the change on a terminal or by --yes.")
    return WeightsLicense(given)


def recognize(text: str) -> str | None:
    """The Hub's name of the licence that a text is, from its first words; None for others."""
    start = " ".join(text.split())[:600].lower()
    found = [(match.start(), match, name) for title, name in TITLES.items() if (match := re.search(title, start))]
    if not found:
        return None
    _, match, name = min(found, key=lambda each: each[0])
    version = match[1] if match.groups() else ""
    return name.format(f"{version}.0" if name == "lgpl-{}" and "." not in version else version)


def write_licenses(folder: Path, license: WeightsLicense, code_license: str) -> None:
    """Writes LICENSE, and LICENSE-CODE if the weights are under another licence than the code."""
    text = license.text or (code_license if license.is_that_of_the_code else NOTICE.format(name=license.name))
    (folder / "LICENSE").write_text(text, encoding="utf-8")
    if not license.is_that_of_the_code:
        (folder / license.code_file).write_text(code_license, encoding="utf-8")


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else None
    except OSError as error:
        raise UploadError(f"{path} cannot be read ({error.strerror}); make it readable.") from error
    except UnicodeDecodeError as error:
        raise UploadError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8.") from error


def _stated_names(folder: Path, metadata: dict) -> list[str]:
    names = metadata.get("license") or []
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) and name.isprintable() for name in names):
        raise UploadError(f"{folder / 'README.md'} has a license {names!a:.100}; give a name such as gpl-2.0.")
    return names


def _only_license(folder: Path, named: list[str], recognized: str | None, text: str | None) -> str:
    if len(named) > 1:
        raise UploadError(f"README.md of {folder} says {' and '.join(named)}; give --license one of them.")
    if text and not named and not recognized:
        raise UploadError(f"{folder} holds a LICENSE whose name is not known; give it as --license.")
    return named[0] if named else recognized or DEFAULT_LICENSE


def _agree(name: str, *names: str) -> bool:
    """Whether one of the names is the same licence, or one of them is the family without a version."""

    def covers(family: str, name: str) -> bool:
        return family in FAMILIES and name.startswith(f"{family}-")

    name = name.lower()
    return any(name == each or covers(name, each) or covers(each, name) for each in map(str.lower, names))
