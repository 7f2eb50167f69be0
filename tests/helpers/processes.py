"""Processes that are started quickly, to be killed: all that they import is imported once."""

import multiprocessing
import os
from multiprocessing import forkserver
from pathlib import Path


def quick_context() -> multiprocessing.context.BaseContext:
    """The context of processes that are forked from one server, which has imported the package and the helpers."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["helpers.corpora", "helpers.recordings"])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parents[2])])
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)
    return context
