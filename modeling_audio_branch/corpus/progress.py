"""The progress of a job on the terminal."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class JobProgress:
    """Counts rows, seconds of audio and failures, and shows them.

    Args:
        total: Rows that are to be done.
        is_shown: Whether they are shown, on stderr.
    """

    def __init__(self, total: int, is_shown: bool):
        self.rows, self.seconds, self.failures = 0, 0.0, 0
        self._start = time.monotonic()
        columns = (
            TextColumn("Embedding"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[rate]:.0f} hours of audio an hour, {task.fields[failures]} errors"),
        )
        self._bar = Progress(*columns, console=Console(stderr=True), disable=not is_shown or not total)
        self._task = self._bar.add_task("", total=total, rate=0.0, failures=0)

    def __enter__(self) -> "JobProgress":
        self._bar.start()
        return self

    def __exit__(self, *error) -> None:
        self._bar.stop()

    @property
    def times_real_time(self) -> float:
        """Seconds of audio a second since the beginning."""
        return self.seconds / max(time.monotonic() - self._start, 1e-9)

    def advance(self, rows: int, seconds: float, failures: int) -> None:
        """Counts rows that are done."""
        self.rows, self.seconds, self.failures = self.rows + rows, self.seconds + seconds, self.failures + failures
        self._bar.update(self._task, completed=self.rows, rate=self.times_real_time, failures=self.failures)
