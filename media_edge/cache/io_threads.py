"""Threads for calls that wait for the disk, at a third of what asyncio's executors cost the event loop per call.

An upload is short: with a ThreadPoolExecutor, its two futures, their locks and a wake-up of the loop for each result
would cost as much as reading the request. Here a call is a tuple in a queue, and results that come at about the same
time wake the loop once.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

_Outcome = tuple["asyncio.Future[Any]", Any, "BaseException | None"]
_Job = tuple["asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...]]


class IoThreads:
    """`count` threads for the event loop that first uses them."""

    def __init__(self, count: int, name: str) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._outcomes: deque[_Outcome] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._awake = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}_{number}", daemon=True)
            for number in range(count)
        ]

    def call(self, function: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        """Have a thread call the function; on the event loop only.

        The future may be cancelled, or dropped, at any time: the call is made nevertheless.
        """
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            for thread in self._threads:
                thread.start()
        future: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.put((future, function, arguments))
        return future

    def close(self) -> None:
        """Let what was asked be done, then end the threads. Blocks; not on the event loop."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, function, arguments = job
            try:
                outcome = (future, function(*arguments), None)
            except BaseException as error:  # noqa: BLE001 - it is whoever waits that must deal with it
                outcome = (future, None, error)
            self._outcomes.append(outcome)
            # Told after the outcome is there: whoever finds the loop awake already can rely on its being seen.
            if not self._awake:
                self._awake = True
                # A loop that has ended has nobody waiting.
                with suppress(RuntimeError):
                    self._tell()
            # Not kept until the next job comes.
            del job, future, function, arguments, outcome

    def _tell(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        self._awake = False
        while self._outcomes:
            future, result, error = self._outcomes.popleft()
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
