"""Ends a supervised worker whose lease ran out unseen: its agent is frozen, so nobody else on this host would."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class LeaseWatch:
    """A thread that calls `on_expired` when no grant came in time. It begins with the first grant.

    Its own thread and clock, so that it works while the worker's loop, or the whole agent, stands still.
    """

    def __init__(self, on_expired: Callable[[], None]) -> None:
        self._on_expired = on_expired
        self._granted = threading.Condition()
        self._deadline_s = 0.0
        self._watching = False

    def grant(self, valid_s: float) -> None:
        """The worker may go on for `valid_s` seconds from now."""
        with self._granted:
            self._deadline_s = time.monotonic() + valid_s
            self._granted.notify()
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, name="lease", daemon=True).start()

    def _watch(self) -> None:
        with self._granted:
            while (left_s := self._deadline_s - time.monotonic()) > 0:
                self._granted.wait(left_s)
        self._on_expired()
