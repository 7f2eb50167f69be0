"""Where the page writes pictures and sound files until the browser has fetched them."""

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

KEPT_SECONDS = 3600


class WorkFolder:
    """A temporary folder of this process, in which each request gets a folder that is removed an hour later."""

    def __init__(self):
        self._temporary = tempfile.TemporaryDirectory(prefix="audio-branch-app-")
        self.path = Path(self._temporary.name)

    def new(self) -> Path:
        """An empty folder."""
        self.remove_older_than(KEPT_SECONDS)
        return Path(tempfile.mkdtemp(dir=self.path))

    def remove_older_than(self, seconds: float) -> None:
        """Removes the folders that were made before so many seconds."""
        for folder in self.path.iterdir():
            with contextlib.suppress(OSError):  # another request may have removed it
                if os.stat(folder).st_mtime < time.time() - seconds:
                    shutil.rmtree(folder, ignore_errors=True)
