"""A circuit breaker for STS: while the service is failing, fragments fail at once and keep their original audio.

Pure: every method takes the time (any monotonic clock, nanoseconds), nothing here reads one or waits.

    closed    --N failures in a row, or p95 latency over the limit-->    open
    open      --cool-down over, next request goes out as a probe-->      half-open
    half-open --probe succeeded fast enough-->                           closed
    half-open --probe failed or was slow-->                              open

Every admitted request gets a ticket and must be settled with it. A ticket from before the last change of state is
ignored, so that stragglers of a bad time neither re-open a breaker that a probe has just closed nor close an open one.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from livedub.errors import ConfigurationError


class BreakerState(str, Enum):
    """What the breaker does with requests: all pass, none pass, one at a time as a probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Outcome(str, Enum):
    """What a request told about the service's health."""

    SUCCESS = "success"
    FAILURE = "failure"
    """It counts against the service: unreachable, too late, overloaded, nonsense."""
    REFUSED = "refused"
    """The request was at fault, or its caller stopped the answer: healthy, but no measure of its speed."""
    ABANDONED = "abandoned"
    """The caller gave up before an answer was due: nothing was learned."""


@dataclass(frozen=True, slots=True)
class BreakerConfig:
    """When to open, and for how long.

    `max_p95_ms` of 0 switches the latency rule off; it needs `min_latencies` answers out of the last
    `latency_window` before it says anything.
    """

    failures_to_open: int = 5
    cool_down_ms: int = 5_000
    max_p95_ms: int = 0
    latency_window: int = 20
    min_latencies: int = 10

    def __post_init__(self) -> None:
        for name in ("failures_to_open", "cool_down_ms", "latency_window", "min_latencies"):
            value = getattr(self, name)
            if value < 1:
                raise ConfigurationError(f"breaker {name} is {value}", remedy="Give at least 1.")
        if self.max_p95_ms < 0:
            raise ConfigurationError(
                f"breaker max_p95_ms is {self.max_p95_ms}", remedy="Give 0 (off) or more milliseconds."
            )
        if self.min_latencies > self.latency_window:
            raise ConfigurationError(
                f"breaker min_latencies ({self.min_latencies}) exceeds latency_window ({self.latency_window})",
                remedy="Lower the one or raise the other.",
            )


@dataclass(frozen=True, slots=True)
class Ticket:
    """Permission for one request: when it was given, and in which stay in which state (`epoch`)."""

    epoch: int
    serial: int
    started_ns: int


class CircuitBreaker:
    """See the module's description. Not thread-safe: it belongs to one event loop."""

    def __init__(self, config: BreakerConfig | None = None) -> None:
        self._config = config or BreakerConfig()
        self._state = BreakerState.CLOSED
        self._reason = ""
        self._epoch = 0
        self._serial = 0
        self._failures_in_a_row = 0
        self._latencies_ns: deque[int] = deque(maxlen=self._config.latency_window)
        self._opened_ns = 0
        self._probe: Ticket | None = None

    @property
    def state(self) -> BreakerState:
        """The state the last call left behind; an open breaker becomes half-open only in `admit`."""
        return self._state

    @property
    def reason(self) -> str:
        """Why the breaker is not closed, for a log line; empty when it is."""
        return self._reason

    def admit(self, now_ns: int) -> Ticket | None:
        """A ticket if a request may go out now, else None."""
        if self._state is BreakerState.CLOSED:
            return self._ticket(now_ns)
        if self._state is BreakerState.OPEN:
            if now_ns - self._opened_ns < self._cool_down_ns:
                return None
            self._enter(BreakerState.HALF_OPEN, self._reason)
        elif self._probe is not None and now_ns - self._probe.started_ns < self._cool_down_ns:
            return None
        # A probe whose ticket never came back must not block the way for ever: after a cool-down another may go.
        self._probe = self._ticket(now_ns)
        return self._probe

    def settle(self, ticket: Ticket, outcome: Outcome, now_ns: int) -> None:
        """Report how an admitted request ended; a second report for a ticket of an earlier epoch does nothing."""
        if ticket.epoch != self._epoch:
            return
        if self._state is BreakerState.HALF_OPEN:
            self._settle_probe(ticket, outcome, now_ns)
        elif outcome is Outcome.FAILURE:
            self._failures_in_a_row += 1
            if self._failures_in_a_row >= self._config.failures_to_open:
                self._open(f"{self._failures_in_a_row} failures in a row", now_ns)
        elif outcome is Outcome.SUCCESS:
            self._failures_in_a_row = 0
            self._latencies_ns.append(now_ns - ticket.started_ns)
            self._open_if_slow(now_ns)
        elif outcome is Outcome.REFUSED:
            self._failures_in_a_row = 0

    @property
    def _cool_down_ns(self) -> int:
        return self._config.cool_down_ms * 1_000_000

    def _ticket(self, now_ns: int) -> Ticket:
        self._serial += 1
        return Ticket(epoch=self._epoch, serial=self._serial, started_ns=now_ns)

    def _settle_probe(self, ticket: Ticket, outcome: Outcome, now_ns: int) -> None:
        if self._probe is None or ticket.serial != self._probe.serial:
            return
        took_ms = (now_ns - ticket.started_ns) // 1_000_000
        if outcome is Outcome.ABANDONED:
            self._probe = None
        elif outcome is Outcome.FAILURE:
            self._open("the probe failed", now_ns)
        elif outcome is Outcome.SUCCESS and 0 < self._config.max_p95_ms < took_ms:
            self._open(f"the probe took {took_ms} ms, limit {self._config.max_p95_ms}", now_ns)
        else:
            self._enter(BreakerState.CLOSED, "")

    def _open_if_slow(self, now_ns: int) -> None:
        limit_ms = self._config.max_p95_ms
        if not limit_ms or len(self._latencies_ns) < self._config.min_latencies:
            return
        p95_ms = percentile_95(self._latencies_ns) // 1_000_000
        if p95_ms > limit_ms:
            self._open(f"p95 latency {p95_ms} ms, limit {limit_ms}", now_ns)

    def _open(self, reason: str, now_ns: int) -> None:
        self._enter(BreakerState.OPEN, reason)
        self._opened_ns = now_ns

    def _enter(self, state: BreakerState, reason: str) -> None:
        self._state = state
        self._reason = reason
        self._epoch += 1
        self._failures_in_a_row = 0
        self._latencies_ns.clear()
        self._probe = None


def percentile_95(values: Iterable[int]) -> int:
    """The 95th percentile by nearest rank: the smallest value that at least 95 % of the values do not exceed."""
    ordered = sorted(values)
    return ordered[math.ceil(0.95 * len(ordered)) - 1]
