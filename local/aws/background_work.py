"""Work that nobody waits for: asynchronous calls, their retries, schedules. Bounded, and ends with the server."""

from __future__ import annotations

import heapq
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable

_LOG = logging.getLogger(__name__)
_THREADS = 8
_QUEUE_LENGTH = 10_000
_END_BOUND_S = 1.0

Job = Callable[[], object]


class BackgroundWork:
    """A few threads and a clock; a job that raises is logged and forgotten.

    Args:
        speed: delays are divided by it (tests).
    """

    def __init__(self, *, speed: float = 1.0) -> None:
        self.speed = speed
        self._queue: queue.Queue[Job | None] = queue.Queue(_QUEUE_LENGTH)
        self._later: list[tuple[float, int, Job]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"background-{number}", daemon=True)
            for number in range(_THREADS)
        ]
        self._threads.append(threading.Thread(target=self._keep_time, name="background-clock", daemon=True))
        for thread in self._threads:
            thread.start()

    def soon(self, job: Job) -> None:
        """Run `job` on the next free thread; beyond ten thousand waiting ones it is dropped and logged."""
        try:
            self._queue.put_nowait(job)
        except queue.Full:
            _LOG.error("dropped a background job: %d are waiting", _QUEUE_LENGTH)

    def later(self, delay_s: float, job: Job) -> None:
        """Run `job` after `delay_s` (divided by the speed)."""
        with self._changed:
            if not self._closed:
                due = time.monotonic() + delay_s / self.speed
                heapq.heappush(self._later, (due, next(self._order), job))
                self._changed.notify_all()

    def close(self) -> None:
        """Forget what waits and let the threads end; a job in progress is not waited for long."""
        with self._changed:
            self._closed = True
            self._later.clear()
            self._changed.notify_all()
        try:
            for _ in range(_THREADS):
                self._queue.put_nowait(None)
        except queue.Full:
            pass  # daemon threads: they end with the process
        deadline = time.monotonic() + _END_BOUND_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while not self._closed and (job := self._queue.get()) is not None:
            try:
                job()
            except Exception:  # noqa: BLE001, PERF203 - the next job must not pay for this one
                _LOG.exception("a background job failed")

    def _keep_time(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                wait_s = self._later[0][0] - time.monotonic() if self._later else None
                if wait_s is None or wait_s > 0:
                    self._changed.wait(wait_s)
                    continue
                _, _, job = heapq.heappop(self._later)
            self.soon(job)
