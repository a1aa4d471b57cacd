"""One stream from arrivals to tags, in virtual time: delay, sync, and every fault that a stream meets."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from dataclasses import replace
from statistics import median

import pytest

from livedub.timeline.clock import NS_PER_MS, NS_PER_S
from media_edge.worker.egress import EgressState
from media_edge.worker.flv import TagType
from media_edge.worker.stream import StreamState
from media_edge.worker.units import Arrival, VideoFormat, VideoUnit
from tests.unit.media_edge.worker.world import TICK_NS, UTC_AT_START_NS, Source, World

AAC_MS = 1024 / 48


def seconds(value: float) -> int:
    return round(value * NS_PER_S)


@pytest.fixture
def world() -> World:
    return World()


def zero_ms(world: World) -> float:
    """Local time of media time 0, in milliseconds."""
    assert world.media_zero_ns is not None
    return world.media_zero_ns / 1e6


def assert_no_audio_hole(world: World) -> None:
    steps = world.audio_steps_ms()
    assert steps
    assert all(AAC_MS - 1 <= step <= AAC_MS + 1 for step in steps), sorted(set(steps))


def assert_in_sync(world: World, events: int) -> None:
    offsets = world.offsets_ms()
    assert len(offsets) >= events
    assert abs(median(offsets)) <= 5
    assert max(map(abs, offsets)) <= 25


def test_everything_leaves_d_later_in_sync_and_untouched(world: World):
    source = Source(seconds(1), seconds(31))
    world.sources.append(source)
    world.run_until(seconds(40))
    assert_in_sync(world, events=14)
    assert_no_audio_hole(world)
    delays = world.video_delays_ms(source)
    assert len(delays) >= 29 * 29
    assert median(delays) == pytest.approx(4_000, abs=60)
    assert all(abs(delay - 4_000) <= 100 for delay in delays)


def test_out_timestamps_are_media_time_plus_d_exactly(world: World):
    world.sources.append(Source(seconds(1), seconds(11), first_pts_ns=seconds(100)))
    world.run_until(seconds(16))
    stamps = [s.tag.timestamp_ms for s in world.media(TagType.VIDEO)]
    sent = [index * 1_000 // 30 + 4_000 for index in range(len(stamps))]
    assert stamps == sent


def test_pictures_keep_both_their_times(world: World):
    world.sources.append(Source(seconds(1), seconds(11), reorder=2))
    world.run_until(seconds(16))
    compositions = {int.from_bytes(s.tag.body[2:5], "big", signed=True) for s in world.media(TagType.VIDEO)}
    assert compositions <= {66, 67}
    assert_in_sync(world, events=3)


@pytest.mark.parametrize("ppm", [200, -200])
def test_a_drifting_publisher_moves_neither_sync_nor_delay(world: World, ppm: int):
    source = Source(seconds(1), seconds(600), rate=1 + ppm / 1e6)
    world.sources.append(source)
    world.run_until(seconds(605))
    assert_in_sync(world, events=290)
    assert_no_audio_hole(world)
    delays = world.video_delays_ms(source)
    assert all(abs(delay - 4_000) <= 60 + TICK_NS / NS_PER_MS for delay in delays)
    assert median(delays[-1_000:]) == pytest.approx(4_000, abs=60)


def test_an_audio_clock_that_disagrees_with_its_timestamps_is_followed(world: World):
    # 48 004.8 samples arrive for each second of timestamps.
    world.sources.append(Source(seconds(1), seconds(120), audio_clock_ppm=100))
    world.run_until(seconds(125))
    assert_in_sync(world, events=55)
    assert_no_audio_hole(world)


def test_network_jitter_is_not_passed_on(world: World):
    def late(sent_ns: int) -> int:
        return (sent_ns // NS_PER_MS * 7_919 % 180) * NS_PER_MS

    source = Source(seconds(1), seconds(61), delay_of=late)
    world.sources.append(source)
    world.run_until(seconds(66))
    assert_in_sync(world, events=28)
    steps = [b.local_ns - a.local_ns for a, b in itertools.pairwise(world.media(TagType.VIDEO))]
    assert max(steps[100:]) <= NS_PER_S // 30 + 2 * TICK_NS


def test_a_publisher_that_returns_meets_the_same_timeline(world: World):
    first, second = Source(seconds(1), seconds(20)), Source(seconds(24), seconds(50), first_pts_ns=seconds(7))
    world.sources += [first, second]
    world.run_until(seconds(56))
    assert len(world.wires) == 1
    assert_no_audio_hole(world)
    assert_in_sync(world, events=20)
    stamps = [s.tag.timestamp_ms for s in world.media(TagType.VIDEO)]
    assert stamps == sorted(stamps)
    assert max(b - a for a, b in itertools.pairwise(stamps)) <= 4_000 + 1_000 + 1_500
    second_delays = world.video_delays_ms(second)[:600]
    assert median(second_delays) == pytest.approx(4_000, abs=60)


def test_the_open_fragment_is_closed_when_the_publisher_leaves(world: World):
    world.sources.append(Source(seconds(1), seconds(10)))
    world.run_until(seconds(14))
    assert world.dubbing.ends_of_input == 1


def test_a_change_of_resolution_sends_a_new_header_before_its_first_keyframe(world: World):
    small = VideoFormat(b"small", 640, 360)
    world.sources += [Source(seconds(1), seconds(10)), Source(seconds(11), seconds(20), format=small)]
    world.run_until(seconds(26))
    headers = [
        (index, s.tag.body[5:])
        for index, s in enumerate(world.sent)
        if s.tag.tag_type == TagType.VIDEO and s.tag.body[1] == 0
    ]
    assert [data for _, data in headers] == [b"avcc", b"small"]
    after = world.sent[headers[1][0] + 1].tag
    assert (after.tag_type, after.body[0]) == (TagType.VIDEO, 0x17)
    assert_no_audio_hole(world)


def test_a_publisher_without_audio_gets_silence(world: World, caplog: pytest.LogCaptureFixture):
    world.sources.append(Source(seconds(1), seconds(20), audio=False))
    with caplog.at_level(logging.WARNING):
        world.run_until(seconds(26))
    assert_no_audio_hole(world)
    assert world.clicks_ms() == []
    assert len(world.media(TagType.VIDEO)) >= 18 * 30
    assert [r.message for r in caplog.records if "no usable audio" in r.message]


def test_a_publisher_without_video_still_sounds(world: World, caplog: pytest.LogCaptureFixture):
    world.sources.append(Source(seconds(1), seconds(20), video=False))
    with caplog.at_level(logging.WARNING):
        world.run_until(seconds(26))
    assert len(world.clicks_ms()) >= 7
    assert [r.message for r in caplog.records if "no usable video" in r.message]


def test_refused_output_is_tried_again_and_starts_at_a_keyframe_on_the_same_timeline(world: World):
    world.sources.append(Source(seconds(1), seconds(40)))
    world.refusals.append((0, seconds(15)))
    world.run_until(seconds(22))
    kinds = [(s.tag.tag_type, s.tag.body[:2]) for s in world.sent[:5]]
    assert kinds[0][0] == TagType.SCRIPT
    assert kinds[1] == (TagType.VIDEO, b"\x17\x00")
    assert kinds[2] == (TagType.VIDEO, b"\x17\x01")
    assert world.egress.state is EgressState.LIVE
    assert world.egress.failing_for_ns(world.now_ns) == 0
    first = world.media(TagType.VIDEO)[0]
    # Media time t leaves at local media zero + t + D, with stamp t + D.
    assert first.local_ns / 1e6 == pytest.approx(zero_ms(world) + first.tag.timestamp_ms, abs=60)


def test_output_that_breaks_goes_on_where_time_is(world: World):
    world.sources.append(Source(seconds(1), seconds(60)))
    world.refusals.append((seconds(20), seconds(22)))
    world.run_until(seconds(50))
    assert_in_sync(world, events=18)
    stamps = [s.tag.timestamp_ms for s in world.media(TagType.VIDEO)]
    assert stamps == sorted(stamps)
    # The outage, the longest pause between attempts, and the wait for a keyframe.
    assert max(b - a for a, b in itertools.pairwise(stamps)) <= 2_000 + 2_000 + 1_000 + 200


def test_a_blocked_socket_is_given_up_and_memory_stays_bounded(world: World):
    world.sources.append(Source(seconds(1), seconds(60)))
    world.blocks.append((seconds(20), seconds(40)))
    world.run_until(seconds(60))
    assert len(world.wires) >= 2
    # 5 s of waiting and the lead, at 30 pictures and 47 AAC frames a second, headers included.
    assert max(wire.queued_tags for wire in world.wires) <= 7 * 80
    assert world.egress.state is EgressState.LIVE
    assert len(world.video) < 6 * 30


def test_while_the_publisher_is_away_audio_flows_and_a_new_output_needs_no_keyframe(world: World):
    world.sources.append(Source(seconds(1), seconds(10)))
    world.refusals.append((seconds(17), seconds(18)))
    world.run_until(seconds(30))
    late = [s for s in world.media(TagType.AUDIO) if s.local_ns > seconds(25)]
    assert len(late) >= 4 * 46


def test_a_restart_goes_on_with_the_same_timestamps():
    world = World()
    source = Source(seconds(1), seconds(60))
    world.sources.append(source)
    world.run_until(seconds(20))
    stored = world.timeline.origin
    assert stored is not None

    successor = World(stored=stored, start_ns=seconds(23))
    successor.sources.append(source)
    successor.run_until(seconds(40))
    before = {
        s.tag.body[5:]: s.tag.timestamp_ms - index for index, s in enumerate(world.media(TagType.VIDEO)[:0])
    }
    assert before == {}
    last_ms = world.media(TagType.VIDEO)[-1].tag.timestamp_ms
    first_ms = successor.media(TagType.VIDEO)[0].tag.timestamp_ms
    # The worker was away for 3 s, what it had buffered (D) is lost, and it joins at a keyframe.
    assert 0 < first_ms - last_ms <= 4_000 + 3_000 + 1_000
    assert successor.timeline.origin is not None
    assert successor.timeline.origin.media_offset_ns == stored.media_offset_ns
    assert_in_sync(successor, events=5)


def test_a_restart_meets_a_new_publisher_by_the_wall_clock():
    world = World()
    world.sources.append(Source(seconds(1), seconds(20)))
    world.run_until(seconds(20))
    stored = world.timeline.origin
    successor = World(stored=stored, start_ns=seconds(40))
    successor.sources.append(Source(seconds(41), seconds(60), first_pts_ns=seconds(500)))
    successor.run_until(seconds(60))
    first_ms = successor.media(TagType.VIDEO)[0].tag.timestamp_ms
    assert successor.media_zero_ns is not None
    elapsed_ms = successor.media_zero_ns / 1e6 - zero_ms(world)
    assert first_ms == pytest.approx(elapsed_ms + 4_000, abs=60)


def test_the_stored_origin_follows_a_drifting_publisher(world: World):
    world.sources.append(Source(seconds(1), seconds(400), rate=1.0002))
    world.run_until(seconds(300))
    origin = world.timeline.origin
    assert origin is not None
    media_now_ns = UTC_AT_START_NS + world.now_ns - origin.utc_ns
    expected_ms = (world.now_ns / 1e6 - zero_ms(world)) * 1.0002
    assert media_now_ns / 1e6 == pytest.approx(expected_ms, abs=40)


def test_an_encoder_restart_inside_a_session_is_anchored_anew(world: World):
    class Restarting(Source):
        def units(self) -> Iterator[Arrival]:
            for arrival in super().units():
                unit, back_ns = arrival.unit, seconds(15)
                if arrival.local_ns < seconds(20):
                    yield arrival
                elif isinstance(unit, VideoUnit):
                    earlier = replace(unit, pts_ns=unit.pts_ns - back_ns, dts_ns=unit.dts_ns - back_ns)
                    yield Arrival(earlier, arrival.local_ns)
                else:
                    yield Arrival(replace(unit, pts_ns=unit.pts_ns - back_ns), arrival.local_ns)

    world.sources.append(Restarting(seconds(1), seconds(40)))
    world.run_until(seconds(46))
    assert_in_sync(world, events=17)
    stamps = [s.tag.timestamp_ms for s in world.media(TagType.VIDEO)]
    assert max(b - a for a, b in itertools.pairwise(stamps)) <= 2_100
    assert_no_audio_hole(world)


def test_states_tell_the_story(world: World):
    world.sources.append(Source(seconds(2), seconds(20)))
    world.refusals.append((seconds(12), seconds(13)))
    seen: list[StreamState] = []
    while world.now_ns < seconds(30):
        world.run_until(world.now_ns + TICK_NS)
        state = world.stream.state(world.now_ns)
        if not seen or seen[-1] is not state:
            seen.append(state)
    assert seen == [
        StreamState.WAITING,
        StreamState.BUFFERING,
        StreamState.OUTPUT_DOWN,
        StreamState.LIVE,
        StreamState.OUTPUT_DOWN,
        StreamState.LIVE,
        StreamState.INPUT_ABSENT,
    ]


def test_a_drain_plays_out_what_came_and_no_more(world: World):
    source = Source(seconds(1), seconds(60))
    world.sources.append(source)
    world.run_until(seconds(20))
    world.stream.drain(world.now_ns)
    world.run_until(seconds(24))
    assert world.stream.state(world.now_ns) is StreamState.DRAINING
    world.run_until(seconds(26))
    assert world.stream.state(world.now_ns) is StreamState.ENDED
    last = world.media(TagType.VIDEO)[-1]
    came_ms = 20_000 - zero_ms(world)
    assert last.tag.timestamp_ms == pytest.approx(came_ms + 4_000, abs=34 + TICK_NS / NS_PER_MS)
    assert_no_audio_hole(world)


def test_a_drain_before_any_input_ends_at_once(world: World):
    world.run_until(seconds(1))
    world.stream.drain(world.now_ns)
    world.run_until(seconds(1.2))
    assert world.stream.state(world.now_ns) is StreamState.ENDED


def test_closing_frees_every_part(world: World):
    world.sources.append(Source(seconds(1), seconds(60)))
    world.run_until(seconds(10))
    world.stream.close()
    assert all(wire.closed for wire in world.wires)
    assert world.egress.state is EgressState.IDLE
