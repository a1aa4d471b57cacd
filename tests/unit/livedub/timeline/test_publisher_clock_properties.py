from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from livedub.timeline.clock import NS_PER_MS, NS_PER_S
from livedub.timeline.publisher_clock import PublisherClock

SETTLE_NS = 2 * NS_PER_S

# (media step, arrival step, whether the step is an outage): anything a network or a publisher may do
ARRIVALS = st.lists(
    st.tuples(
        st.integers(-40 * NS_PER_MS, 200 * NS_PER_MS), st.integers(-NS_PER_MS, 300 * NS_PER_MS), st.booleans()
    ),
    min_size=1,
    max_size=300,
)


def drive(clock: PublisherClock, steps: list[tuple[int, int, bool]]) -> dict[int, int]:
    """Feed the arrivals; returns what the clock said, once settled, of the newest media time at that moment."""
    media_ns, local_ns, newest_ns = 0, NS_PER_S, 0
    said: dict[int, int] = {}
    for index, (media_step_ns, local_step_ns, outage) in enumerate(steps):
        clock.observe(media_ns, local_ns)
        if local_ns >= NS_PER_S + SETTLE_NS:
            newest_ns = max(newest_ns, media_ns)
            said[newest_ns] = clock.local_ns(newest_ns)
        factor = 40 if outage and index % 7 == 0 else 1
        media_ns += media_step_ns * factor
        local_ns += local_step_ns * factor
    return said


@settings(deadline=None)
@given(steps=ARRIVALS, slew_ppm=st.integers(1, 2_000))
def test_what_was_said_once_settled_stays_true(steps: list[tuple[int, int, bool]], slew_ppm: int):
    clock = PublisherClock(max_slew_ppm=slew_ppm, history_ns=10**6 * NS_PER_S)

    for media_ns, local_ns in drive(clock, steps).items():
        assert clock.local_ns(media_ns) == local_ns


@settings(deadline=None)
@given(steps=ARRIVALS, slew_ppm=st.integers(1, 2_000))
def test_time_rises_at_a_bounded_rate(steps: list[tuple[int, int, bool]], slew_ppm: int):
    clock = PublisherClock(max_slew_ppm=slew_ppm)

    for (media_ns, local_ns), (later_media_ns, later_local_ns) in pairwise(
        sorted(drive(clock, steps).items())
    ):
        advance_ns = later_media_ns - media_ns
        assert abs(later_local_ns - local_ns - advance_ns) <= advance_ns * slew_ppm // 1_000_000 + 1


@settings(deadline=None)
@given(
    steps=ARRIVALS,
    slew_ppm=st.integers(1, 2_000),
    asked=st.lists(st.integers(-100 * NS_PER_S, 500 * NS_PER_S), min_size=2, max_size=20),
)
def test_the_map_rises_strictly_and_can_be_inverted(
    steps: list[tuple[int, int, bool]], slew_ppm: int, asked: list[int]
):
    clock = PublisherClock(max_slew_ppm=slew_ppm)
    drive(clock, steps)

    for media_ns in asked:
        assert clock.local_ns(media_ns + 1_000) > clock.local_ns(media_ns)
        assert abs(clock.media_ns(clock.local_ns(media_ns)) - media_ns) <= 2
