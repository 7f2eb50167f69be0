"""The folder of the page's files."""

import os
import time

from modeling_audio_branch.app.files import KEPT_SECONDS, WorkFolder


def test_old_folders_are_removed_and_new_ones_stay():
    work = WorkFolder()
    old, new = work.new(), work.new()
    (old / "file").touch()
    os.utime(old, (time.time() - KEPT_SECONDS - 1,) * 2)
    another = work.new()
    assert not old.exists() and new.exists() and another.exists() and new != another
    path = work.path
    del work
    assert not path.exists()
