"""Writing to a disk that may be full: one sentence with the path, and nothing is left half-written."""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
ERROR_NUMBER = re.compile(r"(?:\[Errno |os error )(\d+)[\])]")  # as shutil and safetensors (Rust) print it
TEMPORARY_REMEDY = "free some space there, or set TMPDIR to a folder on another disk"
REMEDY = "free some space there, or give another path"


class DiskError(OSError):
    """One sentence on a file or folder that cannot be written."""


def disk_problem(error: BaseException | None) -> str | None:
    """What the system says of the disk, such as "No space left on device"; None if the error is not about the disk."""
    while error is not None:
        numbers = [error.errno] if isinstance(error, OSError) else []
        numbers += map(int, ERROR_NUMBER.findall(str(error)))
        for number in numbers:
            if number in DISK_ERRORS:
                return os.strerror(number)
        if "inline_container" in str(error):  # torch.save, which does not say what is wrong
            return "a file there could not be written to its end"
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def writing(path: str | os.PathLike, remedy: str = REMEDY) -> Iterator[None]:
    """Inside, an error of the disk becomes a DiskError about `path`. Other errors stay what they are."""
    try:
        yield
    except DiskError:
        raise
    except Exception as error:
        if (problem := disk_problem(error)) is None:
            raise
        raise DiskError(f"{path} cannot be written ({problem}); {remedy}.") from error


@contextmanager
def saving(folder: str | os.PathLike) -> Iterator[None]:
    """Inside, files are saved to a folder. After an error, those that were not there before are gone again.

    Raises:
        DiskError: The folder cannot be written.
    """
    folder = Path(folder)
    before = set(folder.iterdir()) if folder.is_dir() else set()
    is_new = not folder.exists()
    try:
        with writing(folder):
            yield
    except BaseException:  # an interruption, too
        for path in set(folder.iterdir()) - before if folder.is_dir() else ():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
