from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from livedub.errors import ConfigurationError, InvalidInputError
from livedub.timeline.clock import NS_PER_MS, NS_PER_S
from livedub.timeline.publisher_clock import PublisherClock

SETTLE_NS = 2 * NS_PER_S
MAX_SLEW_PPM = 500
START_NS = 5 * NS_PER_S


class Publisher:
    """A publisher whose clock runs `ppm` slow, behind a network; yields (media_ns, local_ns) in order of arrival."""

    def __init__(
        self, *, seconds: int, ppm: float, step_ms: int = 20, jitter_ms: int = 80, seed: int = 1
    ) -> None:
        self._rng = random.Random(seed)
        self._count = seconds * 1000 // step_ms
        self._step_ns = step_ms * NS_PER_MS
        self._jitter_ns = jitter_ms * NS_PER_MS
        self._ppm = ppm

    def true_local_ns(self, media_ns: int) -> int:
        """When `media_ns` arrives on a network without delay."""
        return START_NS + media_ns + round(media_ns * self._ppm / 1_000_000)

    def arrivals(self, held_until_ns: Callable[[int], int] = lambda _sent: 0) -> Iterator[tuple[int, int]]:
        last_ns = 0
        for index in range(self._count):
            media_ns = index * self._step_ns
            sent_ns = self.true_local_ns(media_ns)
            arrival_ns = max(sent_ns, held_until_ns(sent_ns)) + self._rng.randint(0, self._jitter_ns)
            last_ns = max(last_ns, arrival_ns)  # TCP keeps the order
            yield media_ns, last_ns


def worst_error_ns(clock: PublisherClock, publisher: Publisher, arrivals: Iterator[tuple[int, int]]) -> int:
    """Feed everything; returns the worst error after settling and checks rate and order on the way."""
    worst = 0
    before: tuple[int, int] | None = None
    settled_ns: int | None = None
    for media_ns, local_ns in arrivals:
        clock.observe(media_ns, local_ns)
        settled_ns = local_ns + SETTLE_NS if settled_ns is None else settled_ns
        if local_ns < settled_ns:
            continue
        due_ns = clock.local_ns(media_ns)
        worst = max(worst, abs(due_ns - publisher.true_local_ns(media_ns)))
        if before is not None and media_ns > before[0]:
            advance_ns = media_ns - before[0]
            assert due_ns > before[1]
            assert abs(due_ns - before[1] - advance_ns) <= advance_ns * MAX_SLEW_PPM // 1_000_000 + 1
        before = (media_ns, due_ns)
    assert before is not None
    return worst


@pytest.mark.parametrize("ppm", [-200, 0, 200])
@pytest.mark.parametrize("jitter_ms", [0, 80])
def test_ten_minutes_of_drift_stay_within_20_ms(ppm: int, jitter_ms: int):
    clock = PublisherClock()
    publisher = Publisher(seconds=600, ppm=ppm, jitter_ms=jitter_ms)

    assert worst_error_ns(clock, publisher, publisher.arrivals()) < 20 * NS_PER_MS
    assert clock.drift_ppm == pytest.approx(ppm, abs=10)


@pytest.mark.parametrize("ppm", [-200, 200])
def test_a_day_of_drift_stays_within_20_ms(ppm: int):
    clock = PublisherClock()
    publisher = Publisher(seconds=24 * 3600, ppm=ppm, step_ms=200)

    assert worst_error_ns(clock, publisher, publisher.arrivals()) < 20 * NS_PER_MS
    assert clock.drift_ppm == pytest.approx(ppm, abs=10)


def test_without_jitter_or_drift_it_is_exact():
    clock = PublisherClock()
    publisher = Publisher(seconds=60, ppm=0, jitter_ms=0)

    assert worst_error_ns(clock, publisher, publisher.arrivals()) == 0
    assert clock.offset_ns == START_NS
    assert clock.drift_ppm == 0


def test_a_burst_at_the_start_is_seen_through():
    clock = PublisherClock()
    publisher = Publisher(seconds=120, ppm=100)
    burst_ns = START_NS + 1500 * NS_PER_MS  # a server replays its buffer to whoever joins

    assert worst_error_ns(clock, publisher, publisher.arrivals(lambda _: burst_ns)) < 20 * NS_PER_MS


@pytest.mark.parametrize("ppm", [-200, 200])
@pytest.mark.parametrize("outage_s", [3, 19, 30])
def test_a_stalled_network_moves_nothing(ppm: int, outage_s: int):
    """Packets of the outage arrive at once after it, so every packet in the filter's window may be late."""
    clock = PublisherClock()
    publisher = Publisher(seconds=240, ppm=ppm)
    begin_ns = START_NS + 60 * NS_PER_S
    end_ns = begin_ns + outage_s * NS_PER_S

    worst = worst_error_ns(
        clock, publisher, publisher.arrivals(lambda sent: end_ns if begin_ns <= sent < end_ns else 0)
    )

    assert worst < 20 * NS_PER_MS


def test_a_path_that_got_longer_for_good_is_followed_slowly_and_in_full():
    clock = PublisherClock()
    longer_ns = 100 * NS_PER_MS
    dues: list[int] = []
    for index in range(20 * 600):
        media_ns = index * 50 * NS_PER_MS
        clock.observe(media_ns, START_NS + media_ns + (longer_ns if index >= 1200 else 0))
        dues.append(clock.local_ns(media_ns) - media_ns)

    assert dues[1200] == START_NS
    assert (
        max(right - left for left, right in pairwise(dues)) <= 50 * NS_PER_MS * MAX_SLEW_PPM // 1_000_000 + 1
    )
    assert dues[-1] == START_NS + longer_ns


def test_a_drift_that_turns_is_followed():
    clock = PublisherClock()
    rng = random.Random(5)
    local_ns = true_ns = START_NS
    worst = 0
    for index in range(60_000):
        true_ns += 20 * NS_PER_MS * (1_000_000 + (200 if index // 15_000 % 2 else -200)) // 1_000_000
        local_ns = max(local_ns, true_ns + rng.randint(0, 80 * NS_PER_MS))
        clock.observe(index * 20 * NS_PER_MS, local_ns)
        if index > 200:
            worst = max(worst, abs(clock.local_ns(index * 20 * NS_PER_MS) - true_ns))

    assert worst < 20 * NS_PER_MS


def test_memory_is_bounded():
    clock = PublisherClock()
    for media_ns, local_ns in Publisher(seconds=1200, ppm=200, step_ms=5, jitter_ms=0).arrivals():
        clock.observe(media_ns, local_ns)

    assert len(clock._minima) <= 20 * 20 + 1
    assert len(clock._knots) <= 120 * 4 + 2
    assert len(clock._targets) <= 31


def test_before_the_first_arrival_there_is_no_time():
    clock = PublisherClock()

    assert not clock.started
    with pytest.raises(InvalidInputError, match="nothing has arrived yet"):
        clock.local_ns(0)
    clock.observe(3, 10)
    assert clock.started
    assert (clock.local_ns(0), clock.media_ns(7)) == (7, 0)


def test_bad_values_are_named():
    with pytest.raises(ConfigurationError, match=r"max_slew_ppm \(0\)"):
        PublisherClock(max_slew_ppm=0)
    with pytest.raises(ConfigurationError, match=r"settle_ns \(30000000000\)"):
        PublisherClock(settle_ns=30 * NS_PER_S)
