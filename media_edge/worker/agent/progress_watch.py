"""Whether a worker gets on. Only a worker that does is worth a heartbeat: a wedged one shall be replaced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from media_edge.worker.stream_state import StreamState

_IDLE_STATES = frozenset({StreamState.WAITING.value, StreamState.BUFFERING.value})
"""Nothing is sent yet, rightly: lines that arrive are enough."""


class ProgressWatch:
    """Follows a worker's progress lines. Times are seconds on a monotonic clock."""

    def __init__(self, started_at_s: float, start_timeout_s: float) -> None:
        self._started_at_s = started_at_s
        self._start_timeout_s = start_timeout_s
        self._moved_at_s: float | None = None
        self._output_ms: int | None = None
        self._first_output_due_s = 0.0
        self.state = ""

    def hear(self, event: Mapping[str, Any], now_s: float) -> None:
        """Take one line."""
        if event.get("event") == "state":
            self.state = str(event.get("state"))
        elif event.get("event") == "session":
            # The publisher may be gone again before the delay is over: what it sent is still due.
            self._first_output_due_s = now_s + float(event.get("delay_ms", 0)) / 1_000
        elif event.get("event") == "progress":
            self._hear_figures(event.get("output_media_ms"), now_s)

    def moved(self, now_s: float) -> None:
        """Something happened that a wedged worker could not have brought about."""
        self._moved_at_s = now_s

    def moved_at_s(self, now_s: float) -> float:
        """When the worker last got on; while it may still be loading, that is now."""
        if self._moved_at_s is None:
            return min(now_s, self._started_at_s + self._start_timeout_s)
        return self._moved_at_s

    def _hear_figures(self, output_ms: object, now_s: float) -> None:
        advanced = isinstance(output_ms, int) and (self._output_ms is None or output_ms > self._output_ms)
        if isinstance(output_ms, int):
            self._output_ms = output_ms
        waits = self.state in _IDLE_STATES or (self._output_ms is None and now_s <= self._first_output_due_s)
        if advanced or waits or self._moved_at_s is None:
            self._moved_at_s = now_s
