"""Collections of recordings: an index of their frames, and phrases found in it.

It needs pyarrow, which `datasets` installs.
"""

from .cutouts import write_cutouts
from .index import Added, AudioIndex
from .search import Hit

__all__ = ["Added", "AudioIndex", "Hit", "write_cutouts"]
