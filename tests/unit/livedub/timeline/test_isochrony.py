from __future__ import annotations

import pytest

from livedub.errors import ConfigurationError, InvalidInputError
from livedub.timeline.clock import NS_PER_MS
from livedub.timeline.isochrony import FitPlan, StretchPlan, TempoLimits, plan_speed, plan_stretch

RATE_HZ = 24_000
SAMPLES_PER_MS = RATE_HZ // 1000


def speed(natural_ms: int, speech_ms: int, room_ms: int) -> FitPlan:
    return plan_speed(
        natural_ns=natural_ms * NS_PER_MS, speech_ns=speech_ms * NS_PER_MS, room_ns=room_ms * NS_PER_MS
    )


def stretch(
    spoken_ms: int,
    *,
    speech_ms: int,
    room_ms: int,
    fragment_ms: int,
    lead_ms: int = 0,
    tts_speed: float = 1.0,
) -> StretchPlan:
    return plan_stretch(
        spoken_samples=spoken_ms * SAMPLES_PER_MS,
        rate_hz=RATE_HZ,
        tts_speed=tts_speed,
        lead_ns=lead_ms * NS_PER_MS,
        speech_ns=speech_ms * NS_PER_MS,
        room_ns=room_ms * NS_PER_MS,
        fragment_ns=fragment_ms * NS_PER_MS,
    )


@pytest.mark.parametrize(
    ("natural_ms", "expected"),
    [
        (2000, FitPlan(1.0, 1.0)),  # as long as the source
        (2300, FitPlan(1.0, 1.0)),  # runs into the pause
        (2500, FitPlan(1.0, 1.0)),  # fills it
        (3000, FitPlan(1.2, 1.2)),  # a little faster
        (3750, FitPlan(1.3, 1.5)),  # synthesis alone cannot do it
        (9000, FitPlan(1.3, 1.6)),  # nothing can
        (1900, FitPlan(0.95, 0.95)),  # a little slower, to end with the source
        (1000, FitPlan(0.9, 0.9)),  # but never dragged out
    ],
)
def test_speed_of_synthesis(natural_ms: int, expected: FitPlan):
    plan = speed(natural_ms, speech_ms=2000, room_ms=2500)

    assert plan.tts_speed == pytest.approx(expected.tts_speed)
    assert plan.tempo == pytest.approx(expected.tempo)


def test_no_room_at_all_takes_the_highest_tempo():
    assert speed(1000, speech_ms=0, room_ms=0) == FitPlan(1.3, 1.6)
    assert speed(0, speech_ms=1000, room_ms=1000) == FitPlan(0.9, 0.9)


def test_speech_that_fits_is_left_alone():
    plan = stretch(1800, lead_ms=120, speech_ms=2000, room_ms=2600, fragment_ms=2500)

    assert plan == StretchPlan(
        stretch_ratio=1.0,
        out_samples=1800 * SAMPLES_PER_MS,
        lead_samples=120 * SAMPLES_PER_MS,
        pad_samples=580 * SAMPLES_PER_MS,
        trim_samples=0,
        tempo=1.0,
        overflow_ns=0,
    )
    assert plan.total_samples == 2500 * SAMPLES_PER_MS


def test_what_synthesis_left_over_is_stretched():
    plan = stretch(2800, tts_speed=1.3, speech_ms=2000, room_ms=2500, fragment_ms=2300)

    assert plan.out_samples == 2500 * SAMPLES_PER_MS
    assert plan.stretch_ratio == pytest.approx(2500 / 2800)
    assert plan.tempo == pytest.approx(1.3 * 2800 / 2500)
    assert plan.overflow_ns == 200 * NS_PER_MS
    assert (plan.pad_samples, plan.trim_samples) == (0, 0)


def test_beyond_the_highest_tempo_the_end_is_trimmed_to_the_sample():
    plan = stretch(6000, tts_speed=1.3, lead_ms=100, speech_ms=2000, room_ms=2400, fragment_ms=2300)

    assert plan.tempo == pytest.approx(1.6)
    assert plan.out_samples == 6000 * 1.3 / 1.6 * SAMPLES_PER_MS
    assert plan.trim_samples == plan.out_samples - 2400 * SAMPLES_PER_MS
    assert plan.total_samples == 2500 * SAMPLES_PER_MS
    assert plan.overflow_ns == 200 * NS_PER_MS


def test_a_wrong_estimate_is_undone_where_there_is_room_for_natural_tempo():
    plan = stretch(1400, tts_speed=1.3, speech_ms=1800, room_ms=2500, fragment_ms=2500)

    assert plan.tempo == pytest.approx(1.0)
    assert plan.stretch_ratio == pytest.approx(1.3)


def test_a_small_mismatch_is_not_worth_stretching():
    plan = stretch(1800, tts_speed=1.1, speech_ms=1900, room_ms=2500, fragment_ms=2500)

    assert plan.stretch_ratio == 1.0
    assert plan.tempo == pytest.approx(1.1)


def test_an_engine_beyond_the_limits_is_brought_back_within():
    plan = stretch(1000, tts_speed=0.5, speech_ms=1000, room_ms=1500, fragment_ms=1500)

    assert 0.8 <= plan.tempo <= 1.6


def test_nothing_said_is_silence():
    plan = stretch(0, speech_ms=1000, room_ms=1500, fragment_ms=1500)

    assert plan.total_samples == plan.pad_samples == 1500 * SAMPLES_PER_MS
    assert plan.stretch_ratio == 1.0


def test_room_that_ends_inside_the_fragment_is_kept_and_padded():
    plan = stretch(1200, lead_ms=200, speech_ms=800, room_ms=1000, fragment_ms=1500)

    assert plan.out_samples == 1000 * SAMPLES_PER_MS
    assert plan.pad_samples == 300 * SAMPLES_PER_MS


def test_bad_values_are_named():
    with pytest.raises(InvalidInputError, match="room_ns is -1"):
        plan_speed(natural_ns=1, speech_ns=1, room_ns=-1)
    with pytest.raises(InvalidInputError, match=r"tts_speed \(0\)"):
        stretch(1000, tts_speed=0, speech_ms=1000, room_ms=1500, fragment_ms=1500)
    with pytest.raises(ConfigurationError, match=r"max_tts_speed \(2\.0\)"):
        TempoLimits(max_tts_speed=2.0)
