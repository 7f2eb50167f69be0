"""A disk on which no file can grow beyond a limit. The system refuses the write, as it does on a full disk."""

import resource
from contextlib import contextmanager


@contextmanager
def full_disk(largest_file: int):
    """Inside, writing more bytes than this to a file fails (EFBIG), in this process and in those that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
