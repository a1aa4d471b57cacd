"""Turns the progress of steps into the progress of the job, and asks on the way whether to stop."""

from __future__ import annotations

import time
from collections.abc import Callable

from livedub.library.work.work_ports import JobCancelledError, JobProgress

REPORT_EVERY_S = 0.5
ASK_EVERY_S = 0.25


class StepProgress:
    """The share of a job that lies between `first` and `last`; a job's whole is 0 to 1.

    Every loop of the work calls `tick` often. It costs a clock reading, unless it is time to report or to ask.
    """

    def __init__(
        self,
        progress: JobProgress,
        first: float = 0.0,
        last: float = 1.0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._progress = progress
        self._first = first
        self._last = last
        self._clock = clock
        self._reported_s = float("-inf")
        self._asked_s = float("-inf")
        self._highest = 0.0

    def part(self, first: float, last: float) -> StepProgress:
        """A step of this one, from `first` to `last` of it."""
        length = self._last - self._first
        return StepProgress(
            self._progress, self._first + first * length, self._first + last * length, clock=self._clock
        )

    def tick(self, fraction: float) -> None:
        """So much of this step is done.

        Raises:
            JobCancelledError: the job is to stop.
        """
        now_s = self._clock()
        if now_s - self._asked_s >= ASK_EVERY_S:
            self._asked_s = now_s
            self.stop_if_cancelled()
        self._highest = max(self._highest, min(1.0, fraction))
        if now_s - self._reported_s >= REPORT_EVERY_S:
            self._reported_s = now_s
            self._progress.report(self._first + self._highest * (self._last - self._first))

    def stop_if_cancelled(self) -> None:
        """Ask now.

        Raises:
            JobCancelledError: the job is to stop.
        """
        if self._progress.cancelled():
            raise JobCancelledError

    def transferred(self, done_bytes: int, total_bytes: int) -> None:
        """`tick` in the shape of a transfer's callback."""
        self.tick(done_bytes / total_bytes if total_bytes else 1.0)
