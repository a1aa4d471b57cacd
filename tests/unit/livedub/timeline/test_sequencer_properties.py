from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from livedub.timeline.sequencer import Outcome, Receipt, Release, Sequencer

# (what happens, which number it concerns, time that passes first)
EVENTS = st.lists(
    st.tuples(st.sampled_from(["expect", "offer", "offer", "poll"]), st.integers(0, 30), st.integers(0, 40)),
    max_size=150,
)


@settings(deadline=None)
@given(events=EVENTS, latencies=st.lists(st.integers(0, 200), min_size=1, max_size=10))
def test_whatever_happens_every_number_gets_one_outcome_in_order_and_in_time(
    events: list[tuple[str, int, int]], latencies: list[int]
):
    sequencer: Sequencer[tuple[int, int]] = Sequencer()
    deadlines: dict[int, int] = {}
    taken: dict[int, tuple[int, int]] = {}
    given_back: set[tuple[int, int]] = set()
    releases: list[tuple[int, Release[tuple[int, int]]]] = []
    offered: set[tuple[int, int]] = set()
    now_ns = 0
    for index, (action, number, passed_ns) in enumerate(events):
        now_ns += passed_ns
        if action == "expect":
            sequence_number = max(deadlines, default=-1) + 1 + number % 3
            deadline_ns = max([now_ns + latencies[index % len(latencies)], *deadlines.values()])
            sequencer.expect(sequence_number, deadline_ns)
            deadlines[sequence_number] = deadline_ns
        elif action == "offer":
            item = (number, index)
            offered.add(item)
            if sequencer.offer(number, item, now_ns) is Receipt.TAKEN:
                assert number not in taken
                taken[number] = item
            else:
                given_back.add(item)
        else:
            releases += [(now_ns, release) for release in sequencer.poll(now_ns)]
    end_ns = max([now_ns, *deadlines.values()]) + 1
    releases += [(end_ns, release) for release in sequencer.poll(end_ns)]

    assert [release.sequence_number for _, release in releases] == sorted(deadlines)
    assert all(left.sequence_number < right.sequence_number for (_, left), (_, right) in pairwise(releases))
    assert offered == given_back | set(taken.values())
    for at_ns, release in releases:
        assert release.deadline_ns == deadlines[release.sequence_number]
        assert (release.outcome is Outcome.ON_TIME) <= (at_ns <= release.deadline_ns)
        assert (release.outcome is Outcome.MISSING) == (release.sequence_number not in taken)
        assert release.item == taken.get(release.sequence_number)


@settings(deadline=None)
@given(arrivals=st.permutations(list(range(12))))
def test_in_time_means_on_air(arrivals: list[int]):
    sequencer: Sequencer[int] = Sequencer()
    for number in range(12):
        sequencer.expect(number, 100 + number)
    aired: list[int | None] = []
    for now_ns, number in enumerate(arrivals):
        sequencer.offer(number, number, now_ns)
        aired += [release.item for release in sequencer.poll(now_ns)]

    assert aired == list(range(12))
