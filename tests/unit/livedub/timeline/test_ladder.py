from __future__ import annotations

import pytest

from livedub.errors import ConfigurationError
from livedub.timeline.clock import NS_PER_S
from livedub.timeline.ladder import Ladder, LadderConfig, Rung

FRAGMENT_NS = 3 * NS_PER_S


def climb(ready: str, config: LadderConfig | None = None, *, step_ns: int = FRAGMENT_NS) -> str:
    """Decide for each letter, r(eady) or m(issed); answers the first letters of the rungs: d, k (ducked), o."""
    ladder = Ladder(config)
    letters = {Rung.DUB: "d", Rung.DUCKED: "k", Rung.ORIGINAL: "o"}
    return "".join(letters[ladder.decide(r == "r", index * step_ns).rung] for index, r in enumerate(ready))


@pytest.mark.parametrize(
    ("ready", "rungs"),
    [
        ("rrrr", "dddd"),
        ("rmrr", "dkdd"),  # a single miss costs one fragment
        ("rmmmm", "dkkoo"),  # repeated misses
        ("mmmr", "kkoo"),  # down from the start
        ("mmmrr", "kkood"),  # comes back with the second in a row
        ("mmmrmrr", "kkooood"),  # counting starts over at a miss
        ("mmmrrmr", "kkoodkd"),  # recovered: a single miss is a single miss again
        ("mrmrmrmrmr", "kdkdoooooo"),  # every other one: stops changing
    ],
)
def test_rungs(ready: str, rungs: str):
    assert climb(ready) == rungs


def test_misses_far_apart_are_single_misses():
    assert climb("mrmrmrmr", step_ns=16 * NS_PER_S) == "kdkdkdkd"


def test_hysteresis_is_configurable():
    config = LadderConfig(misses_to_original=2, ready_to_recover=4)

    assert climb("mmrrrrr", config) == "koooodd"


def test_every_decision_says_why():
    ladder = Ladder()
    decisions = [
        ladder.decide(ready, index * FRAGMENT_NS, cause="late")
        for index, ready in enumerate([True, False, True, False, False, False, True, True])
    ]

    assert [decision.reason for decision in decisions] == [
        "ready",
        "late; miss 1 of 3",
        "ready again after a miss",
        "late; miss 2 of 3",
        "late; 3 misses within 30 s",
        "late; still down",
        "ready, 1 of 2 in a row before dubbing again",
        "recovered: 2 ready in a row",
    ]
    assert ladder.rung is Rung.DUB


def test_bad_values_are_named():
    with pytest.raises(ConfigurationError, match=r"misses_to_original \(1\)"):
        LadderConfig(misses_to_original=1)
