"""What the page says in place of results."""

import os
from collections.abc import Sequence

from ..hub.errors import first_line

BAD_INPUT = (ValueError, TypeError, OSError, ImportError)  # what a file or a model without a part may raise


def sentence_of(error: Exception, files: Sequence[str | None] = ()) -> str:
    """An error as one sentence, in which the files are called by their names, not by their places on the server."""
    sentence = first_line(error)
    for file in filter(None, files):
        sentence = sentence.replace(os.path.abspath(file), os.path.basename(file)).replace(file, os.path.basename(file))
    return sentence


def need(file: str | None, what: str) -> str:
    """The path of a file; a ValueError if none was given."""
    if not file:
        raise ValueError(f"No {what} was given; record one, or drop a wav, flac, ogg or mp3 file.")
    return file


def short_name(file: str, longest: int = 28) -> str:
    """A file's name, with dots in its middle if it is long, so that titles of pictures are not cut."""
    name = os.path.basename(file)
    return name if len(name) <= longest else f"{name[: longest - 12]}...{name[-9:]}"
