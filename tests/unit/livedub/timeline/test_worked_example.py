"""The example in docs/timeline.md, computed: its figures are the code's."""

from __future__ import annotations

from pathlib import Path

import pytest

from livedub.timeline.alignment import Placement, SampleAligner
from livedub.timeline.clock import NS_PER_MS, NS_PER_S, SampleClock, ns_to_samples
from livedub.timeline.delay import fragment_max_ns
from livedub.timeline.fragmenter import FragmentCut, Fragmenter, FragmenterConfig, LevelFrame
from livedub.timeline.isochrony import plan_speed
from livedub.timeline.origin import TimelineOrigin, anchor

RATE_HZ = 48_000
DELAY_MS = 8_000
OFFSET_NS = 600 * NS_PER_S
SPEECH_START_NS = 619_200 * NS_PER_MS
SPEECH_END_NS = 621_360 * NS_PER_MS

ROWS = [
    line for line in (Path(__file__).parents[4] / "docs/timeline.md").read_text().splitlines() if "|" in line
]


def documented(figure: str, module: str) -> bool:
    return any(figure in row for row in ROWS if f"`{module}`" in row or not module)


@pytest.fixture
def cut() -> FragmentCut:
    longest_ns = fragment_max_ns(DELAY_MS, 3_500, 400)
    assert longest_ns == 4_100 * NS_PER_MS
    fragmenter = Fragmenter(FragmenterConfig(max_ns=longest_ns))
    for start_ns in range(618_000 * NS_PER_MS, 623_000 * NS_PER_MS, 20 * NS_PER_MS):
        frame = LevelFrame(start_ns, -20.0, speech=SPEECH_START_NS <= start_ns < SPEECH_END_NS)
        for cut in fragmenter.push(frame):
            return cut
    raise AssertionError


def test_the_place_of_a_frame():
    clock = SampleClock(RATE_HZ, OFFSET_NS)
    clock.advance(900 * 1024)
    aligner = SampleAligner(RATE_HZ)
    aligner.place(clock.now_ns - 21 * NS_PER_MS, 1024)  # frame 899, which FLV stamps 19.178 s or 19.179 s

    assert clock.now_ns == SPEECH_START_NS
    assert ns_to_samples(SPEECH_START_NS, RATE_HZ) == 29_721_600
    assert aligner.place(SPEECH_START_NS, 1024) == Placement(29_721_600 + 1024 - 21 * 48, 1024)
    assert documented("sample 29 721 600", "alignment")


def test_the_fragment_and_its_deadline(cut: FragmentCut):
    assert cut.start_ns == 619_080 * NS_PER_MS
    assert cut.end_ns == 621_580 * NS_PER_MS
    assert documented("starts at 619.080 s", "fragmenter")
    assert documented("ends at 621.580 s", "")
    left_ns = cut.start_ns + (DELAY_MS - 400) * NS_PER_MS - cut.end_ns
    assert left_ns == 5_100 * NS_PER_MS
    assert documented("5.1 s are left for STS", "ladder")


def test_the_tempo(cut: FragmentCut):
    room_ns = cut.end_ns + 600 * NS_PER_MS - SPEECH_START_NS
    plan = plan_speed(
        natural_ns=3_200 * NS_PER_MS, speech_ns=SPEECH_END_NS - SPEECH_START_NS, room_ns=room_ns
    )

    assert room_ns == 2_980 * NS_PER_MS
    assert plan.tts_speed == plan.tempo == pytest.approx(1.074, abs=0.0005)
    assert documented("2.98 s of room", "isochrony")
    assert documented("tempo 1.074", "isochrony")


def test_the_crossfade_starts_before_the_fragment(cut: FragmentCut):
    assert ns_to_samples(cut.start_ns - 40 * NS_PER_MS, RATE_HZ) == 29_713_920
    assert documented("from sample 29 713 920", "crossfade")


@pytest.mark.parametrize(("pts_s", "offset_s"), [(110, 600), (0, 710)])
def test_the_successor_of_a_dead_worker(pts_s: int, offset_s: int):
    origin = TimelineOrigin(utc_ns=0, media_offset_ns=OFFSET_NS, delay_ms=DELAY_MS, generation=1)
    offset_ns = anchor(
        origin,
        pts_ns=pts_s * NS_PER_S,
        utc_now_ns=710 * NS_PER_S,
        tolerance_ns=400 * NS_PER_MS,
        last_aired_media_ns=700 * NS_PER_S,
    )

    assert offset_ns == offset_s * NS_PER_S
