"""Text of users on a model card."""

import re

from .errors import CardError


def is_readable(text: str) -> bool:
    """True for text with letters and without control characters. Bytes that are not UTF-8 are not printable."""
    return text.isprintable() and bool(text.strip())


def check_readable(**options: str | None) -> None:
    """Raises a CardError if the terminal passed bytes that are not UTF-8, or control characters."""
    for name, text in options.items():
        if text is not None and not is_readable(text):
            raise CardError(f"--{name} is {ascii(text)}, which is not readable UTF-8 text; give letters.")


def escape_markdown(text: object) -> str:
    """One line of text that Markdown shows unchanged."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(str(text).split()))
