from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from livedub.timeline.clock import NS_PER_S, SampleClock, ns_to_samples, samples_to_ns

RATES_HZ = st.sampled_from([8_000, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000])
CENTURY_SAMPLES = 100 * 366 * 86_400 * 96_000


@settings(deadline=None)
@given(
    rate_hz=RATES_HZ,
    splits=st.lists(st.integers(0, 10_000_000), max_size=60),
    origin_ns=st.integers(-(10**18), 10**18),
)
def test_any_split_gives_zero_accumulated_error(rate_hz: int, splits: list[int], origin_ns: int):
    split, whole = SampleClock(rate_hz, origin_ns), SampleClock(rate_hz, origin_ns)
    spans = [split.advance(samples) for samples in splits]
    span = whole.advance(sum(splits))

    assert split.now_ns == whole.now_ns == span.end_ns
    assert sum(part.duration_ns for part in spans) == span.duration_ns
    assert all(left.end_ns == right.start_ns for left, right in pairwise(spans))


@settings(deadline=None)
@given(rate_hz=RATES_HZ, samples=st.integers(-CENTURY_SAMPLES, CENTURY_SAMPLES))
def test_time_is_exact_to_half_a_nanosecond_for_a_century(rate_hz: int, samples: int):
    ns = samples_to_ns(samples, rate_hz)

    assert abs(ns - Fraction(samples * NS_PER_S, rate_hz)) <= Fraction(1, 2)
    assert ns_to_samples(ns, rate_hz) == samples


@settings(deadline=None)
@given(rate_hz=RATES_HZ, ns=st.integers(-(10**19), 10**19))
def test_positions_are_exact_to_half_a_sample(rate_hz: int, ns: int):
    assert abs(ns_to_samples(ns, rate_hz) - Fraction(ns * rate_hz, NS_PER_S)) <= Fraction(1, 2)
