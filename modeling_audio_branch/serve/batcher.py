"""Clips of different requests in one forward pass.

A few threads run the model. Whenever one is free it takes what waits, the oldest first. It gives requests that are
just being read a moment to join: a lone clip never waits, and under load the batches grow. A clip's numbers don't
depend on its batch, so that nobody sees the load in the numbers.

L samples.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from ..modeling_audio_branch import AudioBranchPreTrainedModel
from .limits import Limits, RequestError

LINGER_SECONDS = 0.02  # that a batch waits for requests that are being read
logger = logging.getLogger(__name__)
NAMES = ("pooler_output", "segment_features", "sequence_embedding", "segment_times", "logits", "probabilities")


@dataclass
class _Job:
    wave: torch.Tensor
    seconds: float
    future: Future = field(default_factory=Future)


class Batcher:
    """Runs a model over the clips of all requests.

    Args:
        model: In eval mode; its `encode` gives the numbers.
        limits: See [`Limits`].
        workers: Threads that run the model. On a CPU, one for each core that computes on this core alone does more
            than one that shares its small operations among all cores.
        on_batch: Called with the number of clips and the seconds of audio of each forward pass.
    """

    def __init__(
        self,
        model: AudioBranchPreTrainedModel,
        limits: Limits,
        workers: int = 1,
        on_batch: Callable[[int, float], None] = lambda clips, seconds: None,
    ):
        self.model, self.limits, self.on_batch = model, limits, on_batch
        self.rate = model.config.sample_rate
        self._jobs, self._changed, self._is_open = deque(), threading.Condition(), True
        self._waiting_seconds, self._arriving = 0.0, 0
        self._threads = [threading.Thread(target=self._run, name=f"batcher-{n}", daemon=True) for n in range(workers)]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """How many clips wait for the model."""
        return len(self._jobs)

    @contextmanager
    def arriving(self) -> Iterator[None]:
        """While a request is read, from its last byte to `submit`."""
        with self._changed:
            self._arriving += 1
        try:
            yield
        finally:
            with self._changed:
                self._arriving -= 1
                self._changed.notify_all()

    def submit(self, waves: Sequence[torch.Tensor]) -> list[Future]:
        """Lets clips (L,) wait. Each future gives the clip's outputs as a dict of tensors; it may be cancelled.

        Raises:
            RequestError: 503 if too much waits already.
        """
        jobs = [_Job(wave, len(wave) / self.rate) for wave in waves]
        seconds = sum(job.seconds for job in jobs)
        with self._changed:
            if not self._is_open:
                raise RequestError(503, "The service is closing; send the request to another.")
            if self._waiting_seconds + seconds > self.limits.waiting_seconds:
                self._drop_cancelled()
            if self._jobs and self._waiting_seconds + seconds > self.limits.waiting_seconds:
                raise RequestError(
                    503, f"{self._waiting_seconds:.0f} s of audio wait already; send this request later."
                )
            self._jobs.extend(jobs)
            self._waiting_seconds += seconds
            self._changed.notify_all()
        return [job.future for job in jobs]

    def close(self) -> None:
        """Ends the threads; clips that wait are cancelled."""
        with self._changed:
            self._is_open = False
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self):
        while (batch := self._next_batch()) is not None:
            running = [job for job in batch if job.future.set_running_or_notify_cancel()]
            if not running:
                continue
            try:
                self.on_batch(len(running), sum(job.seconds for job in running))
                results = encode_waves(self.model, [job.wave for job in running])
            except Exception as error:  # the thread must go on for other requests
                logger.exception("A batch of %d clips failed", len(running))
                results = [error] * len(running)
            for job, result in zip(running, results, strict=True):
                if isinstance(result, Exception):
                    job.future.set_exception(result)
                else:
                    job.future.set_result(result)

    def _next_batch(self):
        """The oldest clips that fit into a forward pass; None when the batcher is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or not self._is_open)
            if not self._is_open:
                for job in self._jobs:
                    job.future.cancel()
                return None
            self._changed.wait_for(self._is_batch_complete, LINGER_SECONDS)
            self._drop_cancelled()
            batch, longest = [], 0.0
            while self._jobs and len(batch) < self.limits.batch_clips:
                longest = max(longest, self._jobs[0].seconds)
                if batch and (len(batch) + 1) * longest > self.limits.batch_seconds:  # padded to the longest
                    break
                batch.append(self._jobs.popleft())
                self._waiting_seconds -= batch[-1].seconds
            return batch

    def _drop_cancelled(self):
        self._jobs = deque(job for job in self._jobs if not job.future.cancelled())
        self._waiting_seconds = sum(job.seconds for job in self._jobs)

    def _is_batch_complete(self):
        return not (self._arriving and self._is_open) or len(self._jobs) >= self.limits.batch_clips


def encode_waves(model: AudioBranchPreTrainedModel, waves: list[torch.Tensor]) -> list[dict | RequestError]:
    """What `encode` gives for clips (L,) at the model's rate: a dict of each clip's outputs, or why there are none."""
    output = model.encode(
        waves,
        model.config.sample_rate,
        batch_size=len(waves),
        show_progress=False,
        on_error="skip",
        same_length_batches=not getattr(model.base_model.encoder, "is_padding_invariant", True),
    )
    given = [name for name in NAMES if output.get(name) is not None]
    return [
        RequestError(422, output.errors[index]) if index in output.errors else {n: output[n][index] for n in given}
        for index in range(len(waves))
    ]
