"""What can't be exported, and libraries that are not there."""

import importlib


class ExportError(ValueError):
    """One sentence: what was asked, and what to do."""


class Int8Error(ExportError):
    """int8 changes a model too much, or there is nothing to measure it with."""


def needed(library: str):
    """A module of the extra `export`.

    Raises:
        ImportError: One sentence: it is not installed.
    """
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise ImportError(f"This needs {library}; pip install 'audio-branch[export]'.") from error
