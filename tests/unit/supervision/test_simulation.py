"""Random schedules of everything that can go wrong, against the rules and the state machine's own ASL.

Many more of them run in `make prove` (tests/prove/test_supervision_schedules.py). To look at one that failed:
`run_schedule(seed)`; it goes the same way every time.
"""

from collections import Counter

import pytest

from tests.unit.supervision.simulation.mutations import MUTATIONS
from tests.unit.supervision.simulation.schedule import SETTLES_WITHIN_MS, digest, run_schedule

SHARDS = 8
SCHEDULES = 2_000
SEEDS_FOR_A_MUTATION = 400


@pytest.mark.parametrize("shard", range(SHARDS))
def test_no_schedule_breaks_a_promise(shard: int):
    seen: Counter[str] = Counter()
    for seed in range(shard, SCHEDULES, SHARDS):
        result = run_schedule(seed)
        assert result.violations == [], f"seed {seed}"
        assert result.settled_ms < SETTLES_WITHIN_MS
        seen.update(result.counts)
        seen.update(f"reason {reason or 'running'}" for reason in result.reasons)
    for outcome in (
        "verdict restart_now crashed",
        "verdict restart crashed",
        "verdict roll_over ended",
        "verdict release source_lost",
        "verdict release degraded",
        "NotePresent",
        "NoteAbsent",
        "ReleaseExpired",
        "Start",
        "reason running",
        "reason no publisher",
        "reason degraded",
    ):
        assert seen[outcome] > 0, f"no schedule led to {outcome}: the simulation has become too tame"


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_rule_is_found(name: str):
    broken, words = MUTATIONS[name]
    for seed in range(SEEDS_FOR_A_MUTATION):
        if any(words in violation for violation in run_schedule(seed, broken()).violations):
            return
    pytest.fail(f"{SEEDS_FOR_A_MUTATION} schedules did not notice: {name}")


def test_a_seed_always_goes_the_same_way():
    first = [run_schedule(seed) for seed in range(20)]
    again = [run_schedule(seed) for seed in range(20)]
    assert digest(first) == digest(again)
    assert [result.counts for result in first] == [result.counts for result in again]
