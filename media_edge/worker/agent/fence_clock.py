"""When a worker must stop by itself because nobody confirmed its lease in time."""

from __future__ import annotations

_SMALLEST_MARGIN_S = 1.0
_MARGIN_SHARE = 6


class FenceClock:
    """Counts from the START of the last confirmation: what the store wrote cannot lie before that.

    The margin covers the end of the worker itself, and that clocks do not tick alike. Times are seconds on a monotonic
    clock.
    """

    def __init__(self, ttl_s: float, confirmed_at_s: float) -> None:
        self._margin_s = max(_SMALLEST_MARGIN_S, ttl_s / _MARGIN_SHARE)
        self._allowed_s = ttl_s - self._margin_s
        self._confirmed_at_s = confirmed_at_s

    @property
    def deadline_s(self) -> float:
        """From then on the worker must not run."""
        return self._confirmed_at_s + self._allowed_s

    @property
    def worker_deadline_s(self) -> float:
        """When the worker ends by itself, should the agent be unable to end it: later than that, before the lease."""
        return self.deadline_s + self._margin_s / 2

    def confirm(self, started_at_s: float) -> None:
        """A confirmation that began at `started_at_s` succeeded."""
        self._confirmed_at_s = max(self._confirmed_at_s, started_at_s)
