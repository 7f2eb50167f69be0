"""The shards of a job in several processes of this machine, each with its share of the cores.

On a CPU this is faster than one process that encodes with all cores while others decode: an encoder on two cores is not
twice as fast as on one, and decoding takes a third of the time.
"""

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch
from transformers.utils import logging

from .decoding import end_with
from .errors import CorpusError
from .plan import Plan
from .shards import Interrupted, Work

POLL_SECONDS = 0.2


def embed_in_processes(
    work: Work,
    plan: Plan,
    shards: list[int],
    folder: Path,
    through: Path,
    processes: int,
    report: Callable[[int, float, int], None],
    is_stopped: Callable[[], bool],
) -> None:
    """Embeds shards, each in one of so many processes (see `Work.embed` for the arguments).

    Raises:
        Interrupted: `is_stopped` said so; what a process was doing is lost from its current shard on.
        CorpusError: A process was killed.
        DiskError: A shard can't be written.
    """
    context = multiprocessing.get_context()
    stopped, counts = context.Event(), context.Queue()
    threads = max(1, torch.get_num_threads() // processes)
    arguments = (os.getpid(), threads, stopped, counts, work, plan, folder, through)
    with ProcessPoolExecutor(processes, context, _start, arguments) as pool:
        pending = {pool.submit(_embed, shard) for shard in shards}
        try:
            while pending:
                done, pending = wait(pending, POLL_SECONDS, FIRST_COMPLETED)
                _report_all(counts, report)
                if is_stopped():
                    raise Interrupted
                for future in done:
                    future.result()
        except BrokenProcessPool as error:
            raise CorpusError("A process was killed, perhaps for its memory; give the same command again.") from error
        finally:
            stopped.set()
            for future in pending:
                future.cancel()
    _report_all(counts, report)


def _report_all(counts, report):
    try:
        while True:
            report(*counts.get_nowait())
    except queue.Empty:
        pass


_process = {}  # what the functions of this process share


def _start(main, threads, stopped, counts, work, plan, folder, through):
    """Prepares a process. Ctrl-C goes to all processes of a terminal, but the main one decides what to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with, args=(main,), daemon=True).start()
    torch.set_num_threads(threads)
    logging.set_verbosity_error()
    work.model.prepare_for_inference()
    _process.update(stopped=stopped, counts=counts, work=work, plan=plan, folder=folder, through=through)


def _embed(shard):
    each = _process
    report, is_stopped = lambda *count: each["counts"].put(count), each["stopped"].is_set
    each["work"].embed(each["plan"], [shard], each["folder"], each["through"], 0, report, is_stopped)
