"""Which files are recordings."""

import os
from collections.abc import Iterable
from pathlib import Path

from .errors import CorpusError

SUFFIXES = {".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".w64", ".wav"}  # of libsndfile


def recordings_in(paths: str | os.PathLike | Iterable[str | os.PathLike], strict: bool = True) -> list[str]:
    """Absolute paths of files, and of the audio files below folders in the order of their names, each once.

    Args:
        paths: Of files and folders.
        strict: Refuse names that can't be written in UTF-8.

    Raises:
        CorpusError: A path does not exist, can't be written in UTF-8, or is of a folder without audio.
    """
    files = {}
    for path in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
        path = Path(os.path.abspath(path))
        found = [path]
        if path.is_dir():
            found = sorted(each for each in path.rglob("*") if each.suffix.lower() in SUFFIXES and each.is_file())
            if not found:
                raise CorpusError(f"{path} holds no audio files ({', '.join(sorted(SUFFIXES))}); give another folder.")
        elif not path.is_file():
            raise CorpusError(f"{path} is neither a file nor a folder; give recordings or folders of them.")
        for each in map(str, found):
            try:
                each.encode()
            except UnicodeEncodeError as error:
                if strict:
                    raise CorpusError(f"{each!r} has a name that is not UTF-8; rename the file.") from error
            files[each] = None
    return list(files)
