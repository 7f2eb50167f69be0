"""Writing files: an error of the disk becomes one sentence with the path, and nothing is left half-written."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..disk import TEMPORARY_REMEDY, DiskError, saving, writing

UNFINISHED = ".writing"  # how the names of folders start in which a file is being written


@contextmanager
def new_folder(path: Path) -> Iterator[None]:
    """Makes a folder to write to, which may exist if it is empty. After an error all of it is gone again.

    Raises:
        DiskError: The folder cannot be made or written.
    """
    missing = [each for each in (path, *path.parents) if not each.exists()]
    try:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DiskError(f"{path} cannot be made ({error.strerror}); give another path.") from error
        with saving(path):
            yield
    except BaseException:  # an interruption, too
        for folder in missing:  # the innermost first
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


@contextmanager
def replaced_file(path: Path, through: Path | None = None) -> Iterator[Path]:
    """Gives a path to write a file to. At the end it takes the place of `path`; after an error it is gone.

    Args:
        path: Of the file.
        through: Folder on the same disk where it is until then; by default that of the file.

    Raises:
        DiskError: The file or its folder cannot be written.
    """
    with writing(path):
        try:
            through = path.parent if through is None else through
            path.parent.mkdir(parents=True, exist_ok=True)
            through.mkdir(parents=True, exist_ok=True)
            temporary = tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=through)
        except OSError as error:
            raise DiskError(f"{path} cannot be written ({error.strerror}); give another path.") from error
        with temporary as folder:
            written = Path(folder, path.name)
            yield written
            os.replace(written, path)


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A folder that is gone at the end. `writing(folder, TEMPORARY_REMEDY)` is for what is written to it.

    Raises:
        DiskError: It cannot be made.
    """
    try:
        temporary = tempfile.TemporaryDirectory(prefix=prefix)
    except OSError as error:
        raise DiskError(f"No temporary folder can be made ({error.strerror}); {TEMPORARY_REMEDY}.") from error
    with temporary as folder:
        yield Path(folder)


def remove_unfinished(folder: Path) -> None:
    """Removes what `replaced_file` has left in a folder whose process was killed."""
    for path in folder.glob(f"{UNFINISHED}*") if folder.is_dir() else ():
        shutil.rmtree(path, ignore_errors=True)
