from __future__ import annotations

import pytest

from livedub.errors import ConfigurationError, InvalidInputError
from livedub.timeline.clock import NS_PER_S, SampleClock, Span, ns_to_samples, samples_to_ns


def test_a_second_of_samples_is_a_second():
    assert samples_to_ns(48_000, 48_000) == NS_PER_S
    assert ns_to_samples(NS_PER_S, 44_100) == 44_100


def test_conversion_goes_to_the_nearest():
    assert samples_to_ns(1, 48_000) == 20_833  # 20833.3
    assert samples_to_ns(2, 48_000) == 41_667  # 41666.7
    assert ns_to_samples(10_416, 48_000) == 0
    assert ns_to_samples(10_417, 48_000) == 1


def test_a_day_of_aac_frames_ends_on_the_nanosecond():
    clock = SampleClock(48_000, origin_ns=7)
    frames = 24 * 3600 * 48_000 // 1024
    for _ in range(frames // 1000):
        clock.advance(1024 * 1000)
    clock.advance(frames % 1000 * 1024)

    assert clock.position == frames * 1024
    assert clock.now_ns == 7 + 24 * 3600 * NS_PER_S


def test_spans_of_the_clock_join():
    clock = SampleClock(44_100)
    first, second = clock.advance(1024), clock.advance(1024)

    assert first == Span(0, 23_219_955)
    assert second.start_ns == first.end_ns


def test_the_clock_does_not_run_back():
    with pytest.raises(InvalidInputError, match="samples is -1"):
        SampleClock(48_000).advance(-1)


def test_a_rate_must_be_positive():
    with pytest.raises(ConfigurationError, match="rate_hz is 0"):
        SampleClock(0)


def test_span_ends_are_half_open():
    span = Span(10, 20)

    assert span.duration_ns == 10
    assert span.contains(10)
    assert not span.contains(20)
    assert span.overlaps(Span(19, 30))
    assert not span.overlaps(Span(20, 30))
    assert not span.overlaps(Span(15, 15))
    assert span.shifted(-10) == Span(0, 10)


def test_a_span_runs_forward():
    with pytest.raises(InvalidInputError, match=r"end_ns \(1\) lies before start_ns \(2\)"):
        Span(2, 1)
