from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from livedub.timeline.alignment import SampleAligner
from livedub.timeline.clock import NS_PER_MS, ns_to_samples, samples_to_ns

RATES_HZ = st.sampled_from([16_000, 44_100, 48_000])


@settings(deadline=None)
@given(
    rate_hz=RATES_HZ, chunks=st.lists(st.tuples(st.integers(-500, 500), st.integers(0, 5_000)), max_size=80)
)
def test_positions_join_whatever_the_timestamps_say(rate_hz: int, chunks: list[tuple[int, int]]):
    aligner = SampleAligner(rate_hz)
    pts_ns = 0
    end: int | None = None
    for step_ms, samples in chunks:
        pts_ns += step_ms * NS_PER_MS
        placement = aligner.place(pts_ns, samples)
        assert min(placement.samples, placement.gap, placement.overlap) >= 0
        assert placement.gap == 0 or placement.overlap == 0
        assert placement.overlap <= samples
        assert abs(placement.samples - (samples - placement.overlap)) <= samples * 1000 // 1_000_000 + 1
        assert placement.position == (ns_to_samples(pts_ns, rate_hz) if end is None else end + placement.gap)
        end = placement.position + placement.samples


@settings(deadline=None)
@given(
    rate_hz=RATES_HZ,
    ppm=st.integers(-500, 500),
    start_ns=st.integers(0, 10**15),
    chunk_samples=st.integers(64, 4_800),
    jitter_ms=st.lists(st.integers(-3, 3), min_size=1, max_size=200),
)
def test_drift_and_jitter_never_part_sound_from_its_timestamps(
    rate_hz: int, ppm: int, start_ns: int, chunk_samples: int, jitter_ms: list[int]
):
    aligner = SampleAligner(rate_hz)
    for index in range(2_000):
        exact_ns = start_ns + samples_to_ns(index * chunk_samples, rate_hz) * (1_000_000 + ppm) // 1_000_000
        jitter_ns = jitter_ms[index % len(jitter_ms)] * NS_PER_MS
        placement = aligner.place((exact_ns + jitter_ns) // NS_PER_MS * NS_PER_MS, chunk_samples)
        assert placement.gap == placement.overlap == 0
        assert abs(samples_to_ns(placement.position, rate_hz) - exact_ns) < 15 * NS_PER_MS
