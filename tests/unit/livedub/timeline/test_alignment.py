from __future__ import annotations

import random

import pytest

from livedub.errors import ConfigurationError, InvalidInputError
from livedub.timeline.alignment import Placement, SampleAligner
from livedub.timeline.clock import NS_PER_MS, NS_PER_S, ns_to_samples, samples_to_ns

RATE_HZ = 48_000
CHUNK = 1024


def flv_pts_ns(index: int, *, rate_hz: int = RATE_HZ, ppm: int = 0, start_ns: int = 0) -> int:
    """Timestamp of AAC frame `index`, whose audio clock is `ppm` slower than the timestamps say, as FLV rounds it."""
    exact_ns = start_ns + samples_to_ns(index * CHUNK, rate_hz) * (1_000_000 + ppm) // 1_000_000
    return exact_ns // NS_PER_MS * NS_PER_MS


@pytest.mark.parametrize("rate_hz", [44_100, 48_000])
@pytest.mark.parametrize("start_ns", [0, 333_333, 123_456_999_999])
def test_rounding_jitter_touches_no_sample_in_an_hour(rate_hz: int, start_ns: int):
    aligner = SampleAligner(rate_hz)
    origin = ns_to_samples(flv_pts_ns(0, rate_hz=rate_hz, start_ns=start_ns), rate_hz)

    for index in range(3600 * rate_hz // CHUNK):
        placement = aligner.place(flv_pts_ns(index, rate_hz=rate_hz, start_ns=start_ns), CHUNK)
        assert placement == Placement(origin + index * CHUNK, CHUNK)


@pytest.mark.parametrize("ppm", [-500, -37, 100, 500])
@pytest.mark.parametrize("chunk_factor", [1, 5])
def test_a_drifting_audio_clock_is_followed(ppm: int, chunk_factor: int):
    aligner = SampleAligner(RATE_HZ)
    samples = CHUNK * chunk_factor
    worst_ns = 0

    for index in range(0, 2 * 3600 * RATE_HZ // CHUNK, chunk_factor):
        pts_ns = flv_pts_ns(index, ppm=ppm)
        placement = aligner.place(pts_ns, samples)
        assert placement.gap == placement.overlap == 0
        assert abs(placement.samples - samples) <= samples * 1000 // 1_000_000 + 1
        worst_ns = max(worst_ns, abs(samples_to_ns(placement.position, RATE_HZ) - pts_ns))

    assert worst_ns < 8 * NS_PER_MS


def test_an_encoder_with_rough_timestamps_is_not_resampled_for_it():
    rng = random.Random(2)
    aligner = SampleAligner(RATE_HZ)
    touched = 0
    for index in range(20_000):
        jitter_ns = 0 if index == 0 else rng.randint(-10, 10) * NS_PER_MS
        touched += aligner.place(NS_PER_S + flv_pts_ns(index) + jitter_ns, CHUNK).samples != CHUNK

    assert touched == 0


def test_a_first_timestamp_that_is_off_is_slewed_away():
    aligner = SampleAligner(RATE_HZ)
    aligner.place(flv_pts_ns(0) + 15 * NS_PER_MS, CHUNK)
    placement = Placement(0, 0)
    for index in range(1, 30 * RATE_HZ // CHUNK):
        placement = aligner.place(flv_pts_ns(index), CHUNK)
        assert placement.overlap == placement.gap == 0

    assert (
        abs(samples_to_ns(placement.position, RATE_HZ) - flv_pts_ns(30 * RATE_HZ // CHUNK - 1))
        < 2 * NS_PER_MS
    )


def test_a_long_hole_is_left_at_once():
    aligner = SampleAligner(RATE_HZ)
    aligner.place(0, CHUNK)

    assert aligner.place(NS_PER_S, CHUNK) == Placement(RATE_HZ, CHUNK, gap=RATE_HZ - CHUNK)
    assert aligner.place(NS_PER_S + 21 * NS_PER_MS, CHUNK) == Placement(RATE_HZ + CHUNK, CHUNK)


def test_what_came_twice_is_dropped():
    aligner = SampleAligner(RATE_HZ)
    aligner.place(0, 9600)  # up to 200 ms

    assert aligner.place(100 * NS_PER_MS, 4800) == Placement(9600, 0, overlap=4800)
    assert aligner.place(120 * NS_PER_MS, 4800) == Placement(9600, 4800 - 3840, overlap=3840)
    assert aligner.place(220 * NS_PER_MS, 960) == Placement(10560, 960)


def test_two_lost_frames_are_noticed_although_each_jump_is_small():
    aligner = SampleAligner(RATE_HZ)
    gaps = 0
    for index in range(2000):
        if index in (500, 501):
            continue
        placement = aligner.place(flv_pts_ns(index), CHUNK)
        gaps += placement.gap
        assert placement.overlap == 0
        if index > 560:
            assert abs(samples_to_ns(placement.position, RATE_HZ) - flv_pts_ns(index)) < 25 * NS_PER_MS
    assert 0 < gaps <= 2 * CHUNK


def test_reset_takes_the_next_timestamp_at_its_word():
    aligner = SampleAligner(RATE_HZ)
    aligner.place(0, CHUNK)
    aligner.reset()

    assert aligner.place(40 * NS_PER_MS, CHUNK) == Placement(1920, CHUNK)


def test_an_empty_chunk_changes_nothing():
    aligner = SampleAligner(RATE_HZ)
    aligner.place(0, CHUNK)

    assert aligner.place(5 * NS_PER_MS, 0) == Placement(CHUNK, 0)
    assert aligner.place(21 * NS_PER_MS, CHUNK) == Placement(CHUNK, CHUNK)


def test_bad_values_are_named():
    with pytest.raises(InvalidInputError, match="samples is -5"):
        SampleAligner(RATE_HZ).place(0, -5)
    with pytest.raises(ConfigurationError, match=r"dead_band_ns \(60000000\)"):
        SampleAligner(RATE_HZ, dead_band_ns=60 * NS_PER_MS)
