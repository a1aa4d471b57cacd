from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from livedub.timeline.clock import NS_PER_S, ns_to_samples, samples_to_ns
from livedub.timeline.isochrony import (
    ANY_TEMPO,
    StretchPlan,
    TempoLimits,
    TempoRange,
    plan_speed,
    plan_stretch,
)

LIMITS = TempoLimits()
NS = st.integers(0, 12 * NS_PER_S)
RATES_HZ = st.sampled_from([16_000, 22_050, 24_000, 48_000])


@settings(deadline=None)
@given(natural_ns=NS, speech_ns=NS, pause_ns=NS)
def test_speed_stays_within_limits_and_natural_where_it_fits(natural_ns: int, speech_ns: int, pause_ns: int):
    room_ns = speech_ns + pause_ns
    plan = plan_speed(natural_ns=natural_ns, speech_ns=speech_ns, room_ns=room_ns)

    assert LIMITS.min_tempo <= plan.tempo <= LIMITS.max_tempo
    assert LIMITS.min_tts_speed <= plan.tts_speed <= LIMITS.max_tts_speed
    assert plan.tempo >= 0.9
    assert (plan.tempo > 1) == (natural_ns > room_ns)
    assert (plan.tempo < 1) == (natural_ns < speech_ns)
    if LIMITS.min_tts_speed <= plan.tempo <= LIMITS.max_tts_speed:
        assert plan.tts_speed == plan.tempo


@dataclass(frozen=True)
class Case:
    spoken_samples: int
    rate_hz: int
    tts_speed: float
    lead_ns: int
    speech_ns: int
    room_ns: int
    fragment_ns: int
    neighbours: TempoRange = ANY_TEMPO

    @property
    def plan(self) -> StretchPlan:
        return plan_stretch(
            spoken_samples=self.spoken_samples,
            rate_hz=self.rate_hz,
            tts_speed=self.tts_speed,
            lead_ns=self.lead_ns,
            speech_ns=self.speech_ns,
            room_ns=self.room_ns,
            fragment_ns=self.fragment_ns,
            limits=replace(LIMITS, neighbours=self.neighbours),
        )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rate_hz = draw(RATES_HZ)
    speech_ns = draw(NS)
    return Case(
        spoken_samples=draw(st.integers(0, 12 * rate_hz)),
        rate_hz=rate_hz,
        tts_speed=draw(st.floats(0.5, 2.0)),
        lead_ns=draw(st.integers(0, NS_PER_S)),
        speech_ns=speech_ns,
        room_ns=speech_ns + draw(st.integers(0, 2 * NS_PER_S)),
        fragment_ns=draw(NS),
    )


def near(tempo: float) -> TempoRange:
    return TempoRange(tempo / 1.08, tempo * 1.08)


@settings(deadline=None)
@given(case=cases(), before=st.none() | st.floats(0.8, 1.6))
def test_the_dub_fits_to_the_sample(case: Case, before: float | None):
    case = case if before is None else replace(case, neighbours=near(before))
    plan = case.plan
    rate_hz = case.rate_hz
    fragment = ns_to_samples(case.fragment_ns, rate_hz)
    end_of_room = ns_to_samples(case.lead_ns + case.room_ns, rate_hz)

    assert min(plan.out_samples, plan.lead_samples, plan.pad_samples, plan.trim_samples) >= 0
    assert plan.lead_samples + plan.out_samples - plan.trim_samples <= end_of_room
    assert plan.total_samples >= fragment
    assert plan.pad_samples == 0 or plan.total_samples == fragment
    assert plan.overflow_ns == samples_to_ns(plan.total_samples - fragment, rate_hz)


@settings(deadline=None)
@given(case=cases())
def test_tempo_stays_within_limits(case: Case):
    plan = case.plan
    assume(plan.out_samples > 0)
    spoken = case.spoken_samples

    assert plan.tempo <= LIMITS.max_tempo + 1e-9
    # To the sample: one or two samples of speech have no whole length between the limits.
    assert (plan.out_samples - 1) * LIMITS.min_tempo <= spoken * case.tts_speed + 1e-6
    assert abs(plan.tempo * plan.out_samples - spoken * case.tts_speed) < 1e-3
    assert abs(plan.stretch_ratio * spoken - plan.out_samples) < 1e-3


@settings(deadline=None)
@given(case=cases())
def test_words_are_lost_only_at_the_highest_tempo(case: Case):
    plan = case.plan
    assume(plan.trim_samples > 0)
    room = ns_to_samples(case.room_ns, case.rate_hz) - 1

    assert case.spoken_samples * case.tts_speed / LIMITS.max_tempo > room


@settings(deadline=None)
@given(case=cases(), before=st.floats(0.8, 1.6))
def test_no_word_is_lost_for_the_neighbour_s_sake(case: Case, before: float):
    assert replace(case, neighbours=near(before)).plan.trim_samples <= case.plan.trim_samples


@settings(deadline=None)
@given(case=cases(), before=st.floats(0.8, 1.6))
def test_tempo_changes_by_8_percent_at_most_unless_words_would_be_lost(case: Case, before: float):
    neighbours = near(before)
    plan = replace(case, neighbours=neighbours).plan
    room = ns_to_samples(case.lead_ns + case.room_ns, case.rate_hz) - plan.lead_samples
    natural = case.spoken_samples * case.tts_speed
    assume(
        plan.out_samples > LIMITS.max_tempo * 100
    )  # in fewer samples the nearest whole length is too far off
    one_sample = natural / (plan.out_samples - 1) - plan.tempo

    assert plan.tempo >= min(neighbours.low, LIMITS.max_tempo) - one_sample
    highest = max(neighbours.high, natural / room if room else LIMITS.max_tempo, LIMITS.min_tempo)
    assert plan.tempo <= min(highest, LIMITS.max_tempo) + one_sample


@given(natural_ns=NS, speech_ns=NS, pause_ns=NS, before=st.floats(0.8, 1.6))
def test_a_planned_tempo_keeps_near_the_neighbour_unless_it_is_not_enough(
    natural_ns: int, speech_ns: int, pause_ns: int, before: float
):
    room_ns = speech_ns + pause_ns
    neighbours = near(before)
    plan = plan_speed(
        natural_ns=natural_ns,
        speech_ns=speech_ns,
        room_ns=room_ns,
        limits=replace(LIMITS, neighbours=neighbours),
    )
    needed = min(LIMITS.max_tempo, natural_ns / room_ns) if room_ns else LIMITS.max_tempo * bool(natural_ns)

    assert LIMITS.min_tempo <= plan.tempo <= LIMITS.max_tempo
    assert plan.tempo >= needed - 1e-9
    assert plan.tempo >= min(neighbours.low, LIMITS.max_tempo) - 1e-9
    assert plan.tempo <= max(neighbours.high, needed, LIMITS.min_tempo) + 1e-9
