from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from livedub.errors import ConfigurationError
from livedub.sts.breaker import (
    BreakerConfig,
    BreakerState,
    CircuitBreaker,
    Outcome,
    Ticket,
    percentile_95,
)

MS = 1_000_000
CONFIG = BreakerConfig(failures_to_open=3, cool_down_ms=1_000)


def admitted(breaker: CircuitBreaker, now_ns: int) -> Ticket:
    ticket = breaker.admit(now_ns)
    assert ticket is not None
    return ticket


def settle_one(breaker: CircuitBreaker, outcome: Outcome, now_ns: int = 0, took_ns: int = 0) -> None:
    breaker.settle(admitted(breaker, now_ns), outcome, now_ns + took_ns)


def opened(config: BreakerConfig = CONFIG, now_ns: int = 0) -> CircuitBreaker:
    breaker = CircuitBreaker(config)
    for _ in range(config.failures_to_open):
        settle_one(breaker, Outcome.FAILURE, now_ns)
    assert breaker.state is BreakerState.OPEN
    return breaker


class TestClosed:
    @settings(deadline=None)
    @given(st.lists(st.sampled_from(Outcome), max_size=60), st.integers(1, 6))
    def test_opens_exactly_at_the_nth_failure_in_a_row(self, outcomes: list[Outcome], limit: int):
        breaker = CircuitBreaker(BreakerConfig(failures_to_open=limit))
        in_a_row = 0
        for outcome in outcomes:
            settle_one(breaker, outcome)
            if outcome is Outcome.FAILURE:
                in_a_row += 1
            elif outcome is not Outcome.ABANDONED:
                in_a_row = 0
            assert (breaker.state is BreakerState.OPEN) == (in_a_row == limit)
            if in_a_row == limit:
                break

    def test_says_why_it_opened(self):
        assert opened().reason == "3 failures in a row"

    def test_concurrent_failures_of_one_bad_moment_open_it_once(self):
        breaker = CircuitBreaker(CONFIG)
        tickets = [admitted(breaker, 0) for _ in range(8)]
        for ticket in tickets:
            breaker.settle(ticket, Outcome.FAILURE, 5 * MS)
        assert breaker.state is BreakerState.OPEN
        assert breaker.admit(5 * MS + 999 * MS) is None
        assert breaker.admit(5 * MS + 1_000 * MS) is not None


class TestLatency:
    CONFIG = BreakerConfig(max_p95_ms=100, latency_window=20, min_latencies=10)

    def test_opens_when_p95_passes_the_limit(self):
        breaker = CircuitBreaker(self.CONFIG)
        for _ in range(20):
            settle_one(breaker, Outcome.SUCCESS, took_ns=50 * MS)
        settle_one(breaker, Outcome.SUCCESS, took_ns=500 * MS)
        assert breaker.state is BreakerState.CLOSED  # one of twenty is the 5 % that p95 forgives
        settle_one(breaker, Outcome.SUCCESS, took_ns=500 * MS)
        assert breaker.state is BreakerState.OPEN
        assert breaker.reason == "p95 latency 500 ms, limit 100"

    def test_waits_for_enough_answers(self):
        breaker = CircuitBreaker(self.CONFIG)
        for _ in range(9):
            settle_one(breaker, Outcome.SUCCESS, took_ns=500 * MS)
        assert breaker.state is BreakerState.CLOSED
        settle_one(breaker, Outcome.SUCCESS, took_ns=500 * MS)
        assert breaker.state is BreakerState.OPEN

    def test_off_by_default(self):
        breaker = CircuitBreaker()
        for _ in range(50):
            settle_one(breaker, Outcome.SUCCESS, took_ns=3_600_000 * MS)
        assert breaker.state is BreakerState.CLOSED

    def test_a_slow_probe_opens_again(self):
        breaker = opened(BreakerConfig(failures_to_open=1, cool_down_ms=1_000, max_p95_ms=100))
        settle_one(breaker, Outcome.SUCCESS, now_ns=1_000 * MS, took_ns=101 * MS)
        assert breaker.state is BreakerState.OPEN
        assert "probe took 101 ms" in breaker.reason

    @settings(deadline=None)
    @given(st.lists(st.integers(0, 10**12), min_size=1, max_size=200))
    def test_percentile_is_nearest_rank(self, values: list[int]):
        p95 = percentile_95(values)
        assert p95 in values
        assert sum(value <= p95 for value in values) >= 0.95 * len(values)
        assert sum(value < p95 for value in values) < math.ceil(0.95 * len(values))


class TestHalfOpen:
    def test_one_probe_at_a_time_after_the_cool_down(self):
        breaker = opened()
        assert breaker.admit(999 * MS) is None
        probe = admitted(breaker, 1_000 * MS)
        assert breaker.state is BreakerState.HALF_OPEN
        assert breaker.admit(1_001 * MS) is None
        breaker.settle(probe, Outcome.SUCCESS, 1_100 * MS)
        assert breaker.state is BreakerState.CLOSED
        assert breaker.reason == ""

    def test_a_failed_probe_starts_the_cool_down_anew(self):
        breaker = opened()
        settle_one(breaker, Outcome.FAILURE, now_ns=1_500 * MS)
        assert breaker.state is BreakerState.OPEN
        assert breaker.admit(2_499 * MS) is None
        assert breaker.admit(2_500 * MS) is not None

    def test_a_refusal_proves_the_service_alive(self):
        breaker = opened()
        settle_one(breaker, Outcome.REFUSED, now_ns=1_000 * MS)
        assert breaker.state is BreakerState.CLOSED

    def test_an_abandoned_probe_frees_the_way_at_once(self):
        breaker = opened()
        settle_one(breaker, Outcome.ABANDONED, now_ns=1_000 * MS)
        assert breaker.admit(1_000 * MS) is not None

    def test_a_lost_probe_does_not_block_for_ever(self):
        breaker = opened()
        lost = admitted(breaker, 1_000 * MS)
        assert breaker.admit(1_999 * MS) is None
        second = admitted(breaker, 2_000 * MS)
        breaker.settle(lost, Outcome.FAILURE, 2_100 * MS)
        assert breaker.state is BreakerState.HALF_OPEN
        breaker.settle(second, Outcome.SUCCESS, 2_200 * MS)
        assert breaker.state is BreakerState.CLOSED

    def test_stragglers_change_nothing(self):
        breaker = CircuitBreaker(CONFIG)
        straggler = admitted(breaker, 0)
        for _ in range(3):
            settle_one(breaker, Outcome.FAILURE)
        breaker.settle(straggler, Outcome.SUCCESS, 10 * MS)
        assert breaker.state is BreakerState.OPEN
        settle_one(breaker, Outcome.SUCCESS, now_ns=1_000 * MS)
        for _ in range(5):
            breaker.settle(straggler, Outcome.FAILURE, 1_100 * MS)
        assert breaker.state is BreakerState.CLOSED


class BreakerMachine(RuleBasedStateMachine):
    """Any interleaving of requests, outcomes and time keeps the promises of the module's description."""

    def __init__(self) -> None:
        super().__init__()
        self.config = BreakerConfig(
            failures_to_open=3, cool_down_ms=100, max_p95_ms=50, latency_window=8, min_latencies=4
        )
        self.breaker = CircuitBreaker(self.config)
        self.now_ns = 0
        self.outstanding: list[Ticket] = []
        self.opened_ns: int | None = None
        self.probe: Ticket | None = None

    def _watch_for_opening(self, before: BreakerState) -> None:
        if self.breaker.state is BreakerState.OPEN and before is not BreakerState.OPEN:
            self.opened_ns = self.now_ns
            self.probe = None

    @rule(step_ms=st.integers(0, 150))
    def time_passes(self, step_ms: int) -> None:
        self.now_ns += step_ms * MS

    @rule()
    def request(self) -> None:
        before = self.breaker.state
        ticket = self.breaker.admit(self.now_ns)
        cool_down_ns = self.config.cool_down_ms * MS
        if before is BreakerState.CLOSED:
            assert ticket is not None
        elif before is BreakerState.OPEN:
            assert self.opened_ns is not None
            assert (ticket is not None) == (self.now_ns - self.opened_ns >= cool_down_ns)
        elif self.probe is not None:
            assert (ticket is not None) == (self.now_ns - self.probe.started_ns >= cool_down_ns)
        else:
            assert ticket is not None
        if ticket is not None:
            self.outstanding.append(ticket)
            if before is not BreakerState.CLOSED:
                self.probe = ticket

    @precondition(lambda self: self.outstanding)
    @rule(data=st.data(), outcome=st.sampled_from(Outcome))
    def settle(self, data: st.DataObject, outcome: Outcome) -> None:
        ticket = self.outstanding.pop(data.draw(st.integers(0, len(self.outstanding) - 1)))
        before = self.breaker.state
        self.breaker.settle(ticket, outcome, self.now_ns)
        if before is BreakerState.OPEN:
            assert self.breaker.state is BreakerState.OPEN
        if ticket == self.probe and outcome is Outcome.ABANDONED:
            self.probe = None
        self._watch_for_opening(before)

    @invariant()
    def reason_tells_unless_closed(self) -> None:
        assert bool(self.breaker.reason) == (self.breaker.state is not BreakerState.CLOSED)

    def teardown(self) -> None:
        # From anywhere, a service that has recovered is in use again within one cool-down and one request.
        self.now_ns += self.config.cool_down_ms * MS
        settle_one(self.breaker, Outcome.SUCCESS, self.now_ns, took_ns=MS)
        if self.breaker.state is not BreakerState.CLOSED:
            assert "p95" in self.breaker.reason  # it was closed all along, and this answer filled the window
            self.now_ns += (self.config.cool_down_ms + 1) * MS
            settle_one(self.breaker, Outcome.SUCCESS, self.now_ns, took_ns=MS)
        assert self.breaker.state is BreakerState.CLOSED


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(deadline=None)


@pytest.mark.parametrize(
    "bad",
    [
        {"failures_to_open": 0},
        {"cool_down_ms": 0},
        {"max_p95_ms": -1},
        {"latency_window": 5, "min_latencies": 6},
    ],
)
def test_a_config_that_cannot_work_is_refused(bad: dict[str, int]):
    with pytest.raises(ConfigurationError, match=next(iter(bad)).split("_", maxsplit=1)[0]):
        BreakerConfig(**bad)
