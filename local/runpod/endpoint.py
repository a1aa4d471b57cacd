"""One endpoint as its clients and workers meet it: the board, and waiting on it.

Nothing polls: whoever waits is woken by the change it waits for, by its own time limit, by its caller hanging up or
by the emulator's end. Everything here runs in one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any

from local.runpod.board import Board
from local.runpod.jobs import Job, Json, Policy
from local.runpod.limits import Limits


@dataclass(eq=False, slots=True)
class _Asker:
    """A worker's open request for jobs."""

    worker_id: str
    most: int
    jobs: asyncio.Future[list[Job]]


class Endpoint:
    """Jobs in, jobs out. `close` ends every wait at once; after it only answers without waiting are given."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._board = Board(limits)
        self._askers: deque[_Asker] = deque()
        self._loop = asyncio.get_running_loop()
        self._closed = self._loop.create_future()
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def board(self) -> Board:
        """The state, for reading; what changes it goes through this class."""
        return self._board

    def close(self) -> None:
        """End all waiting."""
        if not self._closed.done():
            self._closed.set_result(None)
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def submit(self, work: Any, *, size_bytes: int, policy: Policy, synchronous: bool) -> Job:
        """Queue a job, or hand it to a worker that waits for one.

        Raises:
            QueueFullError: the endpoint takes no more jobs now.
        """
        job = self._board.submit(work, size_bytes=size_bytes, policy=policy, synchronous=synchronous)
        self._changed(job)
        return job

    async def ended(self, job: Job, *, wait_s: float) -> None:
        """Return when the job has ended, or after `wait_s`."""
        until = self._loop.time() + wait_s
        while not job.status.final and not self._closed.done() and (left_s := until - self._loop.time()) > 0:
            await self._wait(job.bell.waiter(), left_s)

    async def take(self, worker_id: str, most: int, *, wait_s: float) -> list[Job]:
        """Up to `most` jobs for a worker, as soon as there is one; none after `wait_s`.

        Being cancelled loses no job: what was dealt in that moment is queued again.
        """
        worker = self._board.seen(worker_id)
        asker = _Asker(worker_id, most, self._loop.create_future())
        self._askers.append(asker)
        worker.asking += 1
        taken = False
        try:
            self._changed()
            await self._wait(asker.jobs, wait_s)
            taken = True
            return asker.jobs.result() if asker.jobs.done() and not asker.jobs.cancelled() else []
        finally:
            worker.asking -= 1
            self.heard(worker_id)
            if asker in self._askers:
                self._askers.remove(asker)
            if not taken and asker.jobs.done() and not asker.jobs.cancelled():
                self._board.give_back(worker_id, asker.jobs.result())
            self._changed()

    def give_back(self, worker_id: str, jobs: list[Job]) -> None:
        """Queue jobs again whose worker hung up before it had them."""
        self._board.give_back(worker_id, jobs)
        self._changed()

    async def stops(self, worker_id: str, *, wait_s: float) -> list[str]:
        """Jobs that a worker shall drop, as soon as there is one; none after `wait_s`."""
        worker = self._board.seen(worker_id)
        if not worker.stops:
            worker.asking += 1
            try:
                await self._wait(worker.bell.waiter(), wait_s)
            finally:
                worker.asking -= 1
                self.heard(worker_id)
        return self._board.stops(worker_id)

    def push(self, worker_id: str, job_id: str, chunk: Json, *, size_bytes: int) -> None:
        """Keep an element that a worker streams."""
        self._board.push(worker_id, job_id, chunk, size_bytes=size_bytes)

    def finish(self, worker_id: str, job_id: str, result: Json, *, size_bytes: int) -> None:
        """Keep a worker's result."""
        self._board.finish(worker_id, job_id, result, size_bytes=size_bytes)
        self._ended()

    def cancel(self, job_id: str) -> Job:
        """End a job.

        Raises:
            UnknownJobError: there is no such job.
        """
        job = self._board.cancel(job_id)
        self._ended()
        return job

    def retry(self, job_id: str) -> Job:
        """Queue a job again.

        Raises:
            UnknownJobError: there is no such job.
            NotRetryableError: it neither failed nor timed out.
        """
        job = self._board.retry(job_id)
        self._changed(job)
        return job

    def purge(self) -> int:
        """Cancel all waiting jobs; return how many."""
        removed = self._board.purge()
        self._ended()
        return removed

    async def _wait(self, event: asyncio.Future[Any], timeout_s: float) -> None:
        """Wait for `event`, the end of the emulator or the time limit, whatever comes first."""
        try:
            await asyncio.wait({event, self._closed}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not event.done():
                event.cancel()

    def heard(self, worker_id: str) -> None:
        """Note that a worker is alive."""
        self._board.seen(worker_id)
        self._alarm_by(self._loop.time() + self.limits.worker_silence_s)

    def _ended(self) -> None:
        """A job has ended: its result will be forgotten one day."""
        kept_s = min(self.limits.kept_after_run_s, self.limits.kept_after_runsync_s)
        self._alarm_by(self._loop.time() + kept_s)

    def _changed(self, *jobs: Job) -> None:
        """Deal waiting jobs to waiting workers, who asked first first; `jobs` are those that are new in the queue."""
        for job in jobs:
            self._alarm_by(job.due_s)
        while self._board.queued and self._askers:
            asker = self._askers.popleft()
            if asker.jobs.done():
                continue
            dealt = self._board.take(asker.worker_id, asker.most)
            asker.jobs.set_result(dealt)
            for job in dealt:
                self._alarm_by(job.due_s)

    def _alarm_by(self, due_s: float) -> None:
        """Look at what is due at that time, or earlier.

        The board's clock is time.monotonic, which is the event loop's, too. What became due later meanwhile costs
        an idle look; looking through all jobs at every change would cost more.
        """
        if self._closed.done() or (self._alarm is not None and self._alarm.when() <= due_s):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(due_s, self._ring_alarm)

    def _ring_alarm(self) -> None:
        self._alarm = None
        self._board.expire()
        self._changed()
        if (due_s := self._board.next_due_s()) is not None:
            self._alarm_by(due_s)
