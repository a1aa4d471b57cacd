from __future__ import annotations

import logging

import pytest

from media_edge.worker.units import VideoFormat, VideoUnit
from media_edge.worker.video_delay import VideoDelayLine

FORMAT = VideoFormat(b"avcc")


def unit(dts: int, *, key: bool = False, size: int = 10) -> VideoUnit:
    return VideoUnit(dts, dts, key, bytes(size), FORMAT)


def times(units: list[VideoUnit]) -> list[int]:
    return [u.dts_ns for u in units]


def test_units_come_out_in_order_when_their_time_comes():
    line = VideoDelayLine(1_000)
    for dts in range(5):
        line.push(unit(dts, key=dts == 0))
    assert times(line.take_before(3)) == [0, 1, 2]
    assert times(line.take_before(3)) == []
    assert times(line.take_before(9)) == [3, 4]
    assert (len(line), line.size_bytes) == (0, 0)


def test_it_starts_at_a_keyframe():
    line = VideoDelayLine(1_000)
    for dts, key in ((0, False), (1, False), (2, True), (3, False)):
        line.push(unit(dts, key=key))
    assert times(line.take_before(9)) == [2, 3]
    assert line.dropped_units == 2


def test_a_new_session_waits_for_its_keyframe():
    line = VideoDelayLine(1_000)
    line.push(unit(0, key=True))
    line.await_keyframe()
    for dts, key in ((1, False), (2, True)):
        line.push(unit(dts, key=key))
    assert times(line.take_before(9)) == [0, 2]


def test_time_never_goes_back_even_after_it_was_taken():
    line = VideoDelayLine(1_000)
    for dts, key in ((5, True), (6, False), (4, True), (5, False), (7, False), (8, True)):
        line.push(unit(dts, key=key))
    assert times(line.take_before(9)) == [5, 6, 8]


def test_memory_is_bounded_and_what_cannot_be_decoded_is_dropped(caplog: pytest.LogCaptureFixture):
    line = VideoDelayLine(100)
    with caplog.at_level(logging.ERROR):
        for dts in range(40):
            line.push(unit(dts, key=dts % 10 == 0))
            assert line.size_bytes <= 100
    assert times(line.take_before(99)) == list(range(10))
    assert len(caplog.records) == 1
    assert "WORKER_VIDEO_BUFFER_MAX_BYTES" in caplog.records[0].message
    line.push(unit(41))
    line.push(unit(42, key=True))
    assert times(line.take_before(99)) == [42]
