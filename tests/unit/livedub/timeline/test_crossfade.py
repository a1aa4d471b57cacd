from __future__ import annotations

import pytest

from livedub.errors import ConfigurationError, InvalidInputError
from livedub.timeline.crossfade import Breakpoint, CrossfadePlan, FadeShape, GainCurve, RungGains
from livedub.timeline.ladder import Rung

GAINS = {
    Rung.DUB: RungGains(dub=1.0, background=1.0, original=0.0),
    Rung.DUCKED: RungGains(dub=0.0, background=0.0, original=0.25),
    Rung.ORIGINAL: RungGains(dub=0.0, background=0.0, original=1.0),
}


def test_a_linear_fade_goes_straight():
    curve = GainCurve(1.0)
    curve.fade_to(0.0, position=1000, samples=100)

    assert [curve.gain_at(position) for position in (0, 1000, 1025, 1100, 9999)] == [1.0, 1.0, 0.75, 0.0, 0.0]


def test_an_equal_power_fade_keeps_the_sum_of_squares():
    rising, falling = GainCurve(0.0, FadeShape.EQUAL_POWER), GainCurve(1.0, FadeShape.EQUAL_POWER)
    for curve, gain in ((rising, 1.0), (falling, 0.0)):
        curve.fade_to(gain, position=0, samples=960)

    for position in range(961):
        power = rising.gain_at(position) ** 2 + falling.gain_at(position) ** 2
        assert power == pytest.approx(1.0, abs=0.002)
    assert rising.gain_at(480) == pytest.approx(0.5**0.5, abs=0.001)


def test_breakpoints_cover_a_block_and_nothing_more():
    curve = GainCurve(0.0)
    curve.fade_to(1.0, position=150, samples=100)

    assert curve.breakpoints(0, 100) == (Breakpoint(0, 0.0), Breakpoint(100, 0.0))
    assert curve.breakpoints(100, 100) == (Breakpoint(100, 0.0), Breakpoint(150, 0.0), Breakpoint(200, 0.5))
    assert curve.breakpoints(200, 100) == (Breakpoint(200, 0.5), Breakpoint(250, 1.0), Breakpoint(300, 1.0))


def test_a_fade_that_is_cut_short_turns_without_a_step():
    curve = GainCurve(0.0)
    curve.fade_to(1.0, position=0, samples=100)
    curve.fade_to(0.0, position=50, samples=100)

    assert [curve.gain_at(position) for position in (25, 50, 100, 150)] == [0.25, 0.5, 0.25, 0.0]


def test_forgetting_the_past_leaves_the_future():
    curve = GainCurve(0.0)
    for index in range(100):
        curve.fade_to(float(index % 2), position=index * 1000, samples=100)
        curve.forget(index * 1000 + 50)
    assert len(curve._points) <= 4
    assert curve.gain_at(99_050) == 0.5


def test_fades_come_in_the_order_of_time_and_take_time():
    curve = GainCurve(0.0)
    curve.fade_to(1.0, position=100, samples=10)

    with pytest.raises(InvalidInputError, match="position 99 cannot follow the one at 100"):
        curve.fade_to(1.0, position=99, samples=10)
    with pytest.raises(InvalidInputError, match="fade of 0 samples"):
        curve.fade_to(1.0, position=200, samples=0)


def test_the_music_stays_where_it_was_while_rungs_change():
    """The background is part of the original, so its total gain is the sum of both."""
    plan = CrossfadePlan(GAINS, fade_samples=480)
    plan.switch(1000, Rung.DUB)
    plan.switch(2000, Rung.ORIGINAL)

    for position in range(0, 4000, 7):
        gains = plan.gains_at(position)
        assert gains.background + gains.original == pytest.approx(1.0)


def test_each_rung_is_reached():
    plan = CrossfadePlan(GAINS, fade_samples=480)
    assert plan.gains_at(0) == GAINS[Rung.ORIGINAL]
    for index, rung in enumerate([Rung.DUB, Rung.DUCKED, Rung.DUB, Rung.ORIGINAL], start=1):
        plan.switch(index * 1000, rung)
        assert plan.rung is rung
        assert plan.gains_at(index * 1000 + 480) == GAINS[rung]


def test_switching_to_the_same_rung_changes_nothing():
    plan = CrossfadePlan(GAINS, fade_samples=480)
    plan.switch(1000, Rung.DUB)
    plan.switch(1240, Rung.DUB)

    assert plan.gains_at(1480) == GAINS[Rung.DUB]


def test_a_plan_needs_every_rung_and_time_to_fade():
    with pytest.raises(ConfigurationError, match="gains lack ducked, original"):
        CrossfadePlan({Rung.DUB: GAINS[Rung.DUB]}, fade_samples=480)
    with pytest.raises(ConfigurationError, match="fade_samples is 0"):
        CrossfadePlan(GAINS, fade_samples=0)
