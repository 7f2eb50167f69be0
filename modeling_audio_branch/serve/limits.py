"""What the service takes on: the sizes of requests, and how much may wait. More is refused with a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

MEGABYTE = 2**20


class RequestError(Exception):
    """A request that is not answered with embeddings.

    Args:
        status: HTTP status code.
        sentence: What was given, what is allowed, what to do.
    """

    def __init__(self, status: int, sentence: str):
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


@dataclass(frozen=True)
class Limits:
    """Limits of one request, then of all that are in the service at a time.

    Args:
        body_bytes: Of a request.
        clips: Of a request.
        clip_seconds: Duration of a clip.
        request_seconds: Duration of all clips of a request.
        body_timeout: Seconds that a request's body may take to arrive.
        timeout: Seconds that the answer may take after that.
        held_bytes: Of the bodies of all requests together.
        waiting_seconds: Audio that may wait for the model.
        batch_clips: Of one forward pass.
        batch_seconds: Audio of one forward pass with its padding, but at least one clip.
    """

    body_bytes: int = 32 * MEGABYTE
    clips: int = 64
    clip_seconds: float = 120.0
    request_seconds: float = 600.0
    body_timeout: float = 60.0
    timeout: float = 120.0
    held_bytes: int = 128 * MEGABYTE
    waiting_seconds: float = 3600.0
    batch_clips: int = 32
    batch_seconds: float = 240.0


class ByteBudget:
    """Counts the bytes of all bodies in memory.

    Args:
        size: The most that may be held.
    """

    def __init__(self, size: int):
        self.size, self.held = size, 0

    @contextmanager
    def share(self) -> Iterator["BudgetShare"]:
        """What one request holds; it is given back at the end."""
        share = BudgetShare(self)
        try:
            yield share
        finally:
            self.held -= share.held


class BudgetShare:
    """The bytes that one request holds of a [`ByteBudget`]."""

    def __init__(self, budget: ByteBudget):
        self.budget, self.held = budget, 0

    def take(self, count: int) -> None:
        """Holds more bytes; a RequestError (503) if others hold too many."""
        if self.budget.held + count > self.budget.size:
            raise RequestError(
                503, f"The service holds {self.budget.size // MEGABYTE} MB of requests already; send this one again."
            )
        self.budget.held += count
        self.held += count
