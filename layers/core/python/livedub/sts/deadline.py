"""The time a request has left. Pure: the clock is the caller's."""

from __future__ import annotations

from collections.abc import Callable

_NS_PER_MS = 1_000_000


class Deadline:
    """The moment `deadline_ms` after now, on a monotonic clock in nanoseconds."""

    def __init__(self, clock_ns: Callable[[], int], deadline_ms: int) -> None:
        self._clock_ns = clock_ns
        self._at_ns = clock_ns() + deadline_ms * _NS_PER_MS

    def left_ms(self) -> int:
        """Whole milliseconds left; 0 or less when it has passed."""
        return (self._at_ns - self._clock_ns()) // _NS_PER_MS
