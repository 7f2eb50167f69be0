"""What is raised when an archive cannot be read."""

import struct

# What torch, tarfile and PyYAML raise on malformed data, in addition to their own errors.
MALFORMED = (RuntimeError, ValueError, LookupError, AttributeError, TypeError, AssertionError)
MALFORMED += (OverflowError, MemoryError, struct.error)


class NemoError(ValueError):
    """One sentence about what is wrong with an archive, or about what Audio Branch does not support."""


def first_line(error: Exception) -> str:
    """The start of an error's message, as a part of a sentence."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]
