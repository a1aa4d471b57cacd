from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livedub.timeline.crossfade import CrossfadePlan, FadeShape, GainCurve, RungGains
from livedub.timeline.ladder import Rung

GAIN = st.floats(0, 2)
FADES = st.lists(st.tuples(st.integers(0, 400), GAIN, st.integers(1, 300)), max_size=12)
SHAPES = st.sampled_from(FadeShape)


def curve_of(start: float, shape: FadeShape, fades: list[tuple[int, float, int]]) -> tuple[GainCurve, int]:
    curve = GainCurve(start, shape)
    position = 0
    for step, gain, samples in fades:
        position += step
        curve.fade_to(gain, position=position, samples=samples)
    return curve, position + 400


@settings(deadline=None)
@given(start=GAIN, shape=SHAPES, fades=FADES)
def test_a_gain_never_steps_nor_leaves_the_range_of_its_ends(
    start: float, shape: FadeShape, fades: list[tuple[int, float, int]]
):
    curve, end = curve_of(start, shape, fades)
    gains = [curve.gain_at(position) for position in range(-10, end)]
    ends = [start, *(gain for _, gain, _ in fades)]
    shortest = min((samples for _, _, samples in fades), default=1)

    assert min(ends) - 1e-9 <= min(gains) <= max(gains) <= max(ends) + 1e-9
    steepest = 1.6 * max(ends) / shortest  # half a sine rises by pi / 2 times its mean
    assert all(abs(right - left) <= steepest + 1e-9 for left, right in pairwise(gains))
    assert not fades or gains[-1] == pytest.approx(fades[-1][1])


@settings(deadline=None)
@given(start=GAIN, shape=SHAPES, fades=FADES, at=st.integers(-10, 3_000), samples=st.integers(1, 500))
def test_breakpoints_say_the_same_as_gain_at(
    start: float, shape: FadeShape, fades: list[tuple[int, float, int]], at: int, samples: int
):
    curve, _ = curve_of(start, shape, fades)
    points = curve.breakpoints(at, samples)

    assert points[0].position == at
    assert points[-1].position == at + samples
    for left, right in pairwise(points):
        assert left.position < right.position
        for position in range(left.position, right.position + 1):
            share = (position - left.position) / (right.position - left.position)
            expected = left.gain + (right.gain - left.gain) * share
            assert curve.gain_at(position) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(start=GAIN, shape=SHAPES, fades=FADES, at=st.integers(0, 3_000))
def test_forgetting_changes_nothing_from_there_on(
    start: float, shape: FadeShape, fades: list[tuple[int, float, int]], at: int
):
    curve, end = curve_of(start, shape, fades)
    before = [curve.gain_at(position) for position in range(at, max(at, end) + 1)]
    curve.forget(at)

    assert [curve.gain_at(position) for position in range(at, max(at, end) + 1)] == before


@settings(deadline=None)
@given(
    switches=st.lists(st.tuples(st.integers(0, 300), st.sampled_from(Rung)), max_size=12),
    fade_samples=st.integers(1, 200),
)
def test_music_neither_dips_nor_swells_between_dub_and_original(
    switches: list[tuple[int, Rung]], fade_samples: int
):
    same_level = RungGains(dub=0.0, background=0.0, original=1.0)
    plan = CrossfadePlan(
        {Rung.DUB: RungGains(1.0, 1.0, 0.0), Rung.DUCKED: same_level, Rung.ORIGINAL: same_level},
        fade_samples=fade_samples,
    )
    position = 0
    for step, rung in switches:
        position += step
        plan.switch(position, rung)
        plan.forget(position)
        for offset in (0, 1, fade_samples // 2, fade_samples):
            gains = plan.gains_at(position + offset)
            assert gains.background + gains.original == pytest.approx(1.0)
