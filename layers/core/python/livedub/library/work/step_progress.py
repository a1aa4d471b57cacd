"""Turns the progress of steps into the progress of the job, and asks on the way whether to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from livedub.library.work.work_ports import JobCancelledError, JobProgress

REPORT_EVERY_S = 0.5
ASK_EVERY_S = 0.25


@dataclass(slots=True)
class Pace:
    """When a job last reported and asked, and how far it has come; its steps share it."""

    reported_s: float = float("-inf")
    asked_s: float = float("-inf")
    highest: float = 0.0


class StepProgress:
    """The share of a job that lies between `first` and `last`; the whole is 0 to 1.

    Every loop of the work calls `tick` often. It costs a clock reading, unless it is time to report or to ask.
    """

    def __init__(
        self,
        progress: JobProgress,
        first: float = 0.0,
        last: float = 1.0,
        *,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._progress = progress
        self._first = first
        self._last = last
        self._pace = pace or Pace()
        self._clock = clock

    def part(self, first: float, last: float) -> StepProgress:
        """A step of this one, from `first` to `last` of it."""
        length = self._last - self._first
        return StepProgress(
            self._progress,
            self._first + first * length,
            self._first + last * length,
            pace=self._pace,
            clock=self._clock,
        )

    def tick(self, fraction: float) -> None:
        """So much of this step is done.

        Raises:
            JobCancelledError: the job is to stop.
        """
        pace, now_s = self._pace, self._clock()
        if now_s - pace.asked_s >= ASK_EVERY_S:
            pace.asked_s = now_s
            self.stop_if_cancelled()
        done = self._first + min(1.0, max(0.0, fraction)) * (self._last - self._first)
        pace.highest = max(pace.highest, done)
        if now_s - pace.reported_s >= REPORT_EVERY_S:
            pace.reported_s = now_s
            self._progress.report(pace.highest)

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
