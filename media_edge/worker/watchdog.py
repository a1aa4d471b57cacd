"""Ends a process whose clockwork stands still: a wedged worker must not hold its output."""

from __future__ import annotations

import faulthandler
import logging
import os
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

_CHECK_S = 1.0


class Watchdog:
    """A thread that calls `on_wedged` when `beat` was not called for `limit_ns`."""

    def __init__(
        self, limit_ns: int, on_wedged: Callable[[], None], *, now_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._limit_ns = limit_ns
        self._on_wedged = on_wedged
        self._now_ns = now_ns
        self._last_ns = now_ns()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._last_ns = self._now_ns()
        self._thread.start()

    def beat(self) -> None:
        """The clockwork turned once more."""
        self._last_ns = self._now_ns()

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(2 * _CHECK_S)

    def _watch(self) -> None:
        while not self._stopped.wait(_CHECK_S):
            if self._now_ns() - self._last_ns > self._limit_ns:
                self._on_wedged()
                return


def exit_wedged(code: int) -> None:
    """Write every thread's stack and end the process at once: a wedged loop cannot be asked to clean up."""
    logger.critical("The worker's loop stands still; the process ends with code %d.", code)
    faulthandler.dump_traceback(all_threads=True)
    os._exit(code)
