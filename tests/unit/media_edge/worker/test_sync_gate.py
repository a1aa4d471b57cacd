from __future__ import annotations

from livedub.timeline.clock import NS_PER_MS, NS_PER_S
from media_edge.worker.sync_gate import SyncGate
from media_edge.worker.units import Arrival, AudioFormat, AudioUnit, VideoFormat, VideoUnit

LIMIT_NS = 2 * NS_PER_S


def ms(value: int) -> int:
    return value * NS_PER_MS


def picture(pts_ms: int, local_ms: int) -> Arrival:
    return Arrival(VideoUnit(ms(pts_ms), ms(pts_ms), True, b"", VideoFormat(b"")), ms(local_ms))


def sound(pts_ms: int, local_ms: int) -> Arrival:
    return Arrival(AudioUnit(ms(pts_ms), b"", AudioFormat(b"")), ms(local_ms))


def test_nothing_passes_before_the_reports_are_applied():
    gate = SyncGate(LIMIT_NS)
    assert gate.admit([picture(0, 0), sound(0, 0)], synchronised=False, now_ns=ms(50)) == []
    assert gate.admit([picture(33, 100)], synchronised=True, now_ns=ms(100)) == []
    late = [picture(66, 300)]
    assert gate.admit(late, synchronised=True, now_ns=ms(300)) == late
    assert gate.open
    assert gate.admit(late, synchronised=False, now_ns=ms(301)) == late


def test_tracks_that_agree_wait_for_reports_no_longer_than_the_limit():
    gate = SyncGate(LIMIT_NS)
    assert gate.admit([picture(0, 0), sound(100, 0)], synchronised=False, now_ns=LIMIT_NS - 1) == []
    assert len(gate.admit([picture(2_000, 2_000)], synchronised=False, now_ns=LIMIT_NS)) == 1


def test_tracks_that_disagree_are_waited_for_longer():
    gate = SyncGate(LIMIT_NS)
    # The picture that arrives with the sound of second 1.2 says that it is second 0.
    assert gate.admit([sound(1_200, 0), picture(0, 0)], synchronised=False, now_ns=LIMIT_NS) == []
    assert gate.admit([sound(8_100, 6_900)], synchronised=False, now_ns=ms(6_900)) == []
    late = [sound(9_200, 8_000)]
    assert gate.admit(late, synchronised=False, now_ns=8 * NS_PER_S) == late


def test_a_single_track_has_nothing_to_disagree_with():
    gate = SyncGate(LIMIT_NS)
    gate.admit([picture(0, 0)], synchronised=False, now_ns=0)
    assert len(gate.admit([picture(2_000, 2_000)], synchronised=False, now_ns=LIMIT_NS)) == 1


def test_waiting_begins_with_the_first_arrival():
    gate = SyncGate(LIMIT_NS)
    assert gate.admit([], synchronised=False, now_ns=10 * LIMIT_NS) == []
    assert gate.admit([picture(0, 25_000)], synchronised=False, now_ns=ms(25_000)) == []
    assert not gate.open
