from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from livedub.timeline.ladder import Ladder, LadderConfig, Rung

CONFIGS = st.builds(LadderConfig, st.integers(2, 5), st.integers(1, 50), st.integers(1, 5))
FRAGMENTS = st.lists(st.tuples(st.booleans(), st.integers(1, 12)), min_size=1, max_size=200)


def climb(config: LadderConfig, fragments: list[tuple[bool, int]]) -> list[tuple[int, bool, Rung]]:
    """(time, ready, rung) of each decision."""
    ladder = Ladder(config)
    now_ns = 0
    history: list[tuple[int, bool, Rung]] = []
    for ready, passed_ns in fragments:
        now_ns += passed_ns
        decision = ladder.decide(ready, now_ns)
        assert decision.reason
        assert decision.rung is ladder.rung
        history.append((now_ns, ready, decision.rung))
    return history


@settings(deadline=None)
@given(config=CONFIGS, fragments=FRAGMENTS)
def test_the_dub_airs_only_if_it_is_there(config: LadderConfig, fragments: list[tuple[bool, int]]):
    assert all(ready or rung is not Rung.DUB for _, ready, rung in climb(config, fragments))


@settings(deadline=None)
@given(config=CONFIGS, fragments=FRAGMENTS)
def test_one_ready_leads_back_from_ducked_and_a_run_of_them_from_original(
    config: LadderConfig, fragments: list[tuple[bool, int]]
):
    history = climb(config, fragments)
    in_a_row = 0
    for (_, _, before), (_, ready, rung) in pairwise([(0, True, Rung.DUB), *history]):
        in_a_row = in_a_row + 1 if ready and before is Rung.ORIGINAL else 0
        if before is Rung.ORIGINAL:
            assert (rung is Rung.DUB) == (in_a_row >= config.ready_to_recover)
        else:
            assert (rung is Rung.DUB) == ready


@settings(deadline=None)
@given(config=CONFIGS, fragments=FRAGMENTS)
def test_it_does_not_flap(config: LadderConfig, fragments: list[tuple[bool, int]]):
    """Between two stays on `original` the dub fails fewer times within the window than would lead there."""
    misses: list[int] = []
    before = Rung.DUB
    for now_ns, ready, rung in climb(config, fragments):
        if before is Rung.ORIGINAL:
            misses = []
        elif not ready:
            misses = [miss for miss in misses if now_ns - miss <= config.window_ns] + [now_ns]
        assert (rung is Rung.ORIGINAL) == (
            (before is Rung.ORIGINAL and rung is not Rung.DUB)
            or (not ready and len(misses) >= config.misses_to_original)
        )
        before = rung


@settings(deadline=None)
@given(config=CONFIGS, period=st.integers(2, 6), count=st.integers(50, 200))
def test_a_dub_that_fails_regularly_settles_on_one_rung(config: LadderConfig, period: int, count: int):
    """Within the window: if misses come so often that they lead to `original`, and never enough ready in a row."""
    fragments = [(index % period != 0, 1) for index in range(count)]
    history = climb(config, fragments)
    changes = sum(left[2] is not right[2] for left, right in pairwise(history))

    if period - 1 < config.ready_to_recover and period * (config.misses_to_original - 1) <= config.window_ns:
        assert changes <= 2 * config.misses_to_original
