"""Every fault of a live stream: what the viewer gets, and the one line that tells the operator."""

import asyncio
import itertools
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from livedub.verify.recording import read_recording
from local.processes import ChildProcess
from tests.e2e.rig import Rig

pytestmark = [pytest.mark.realtime, pytest.mark.slow, pytest.mark.timeout(240)]

GOP_MS = 2_000


async def finish(
    rig: Rig, publisher: ChildProcess, worker: ChildProcess, recorder: ChildProcess
) -> dict[str, Any]:
    await asyncio.wait_for(publisher.wait(), 90)
    await asyncio.wait_for(worker.wait(), 40)
    await rig.supervisor.stop(recorder)
    return rig.report()


def aired(rig: Rig) -> list[str]:
    return [event["rung"] for event in rig.fragment_events()]


def reasons(rig: Rig) -> set[str]:
    return {event["reason"] for event in rig.fragment_events() if event["rung"] != "dub"}


def untouched(report: dict[str, Any]) -> None:
    """What holds whatever STS does: pictures, delay, sync, no hole."""
    assert report["video"]["nal_identical"] == report["video"]["nal_total"] > 0
    assert report["video"]["overlap"] >= 0.95
    assert report["audio"]["holes"] == 0
    assert report["predicates"]["delay_constant"]
    assert report["predicates"]["sync_every_event"]


def heard_without_a_gap(report: dict[str, Any]) -> None:
    """Sound left all the time. It may be silent for a moment where a publisher returned: the recorder of `in`, which
    tells what should be heard, may have joined the new publisher before the worker did."""
    holes = report["audio"]["hole_list"]
    assert [hole for hole in holes if hole["cause"] == "pts_gap"] == []
    assert sum(hole["length_ms"] for hole in holes) < 1_000
    assert report["audio"]["resets"] == 0


async def test_sts_that_stalls_six_seconds_costs_dubs_and_nothing_else(rig: Rig, clip: Path):
    await rig.start_sts("5-7:stall:6000")
    recorder = await rig.record()
    worker = await rig.start_worker(grace_ms=1_000)
    report = await finish(rig, await rig.publish(clip, seconds=30), worker, recorder)
    untouched(report)
    rungs = aired(rig)
    assert "ducked" in rungs
    assert rungs[-1] == "dub"
    assert rungs.count("dub") >= 6
    assert rig.said("no dub")


async def test_sts_down_from_the_start_is_used_once_it_is_there(rig: Rig, clip: Path):
    recorder = await rig.record()
    worker = await rig.start_worker(grace_ms=1_000)
    publisher = await rig.publish(clip, seconds=44)
    await rig.until_progress(lambda line: line["event"] == "fragment" and line["rung"] == "original", 30)
    await rig.start_sts()
    report = await finish(rig, publisher, worker, recorder)
    untouched(report)
    rungs = aired(rig)
    assert rungs[0] == "ducked"
    assert rungs[-1] == "dub"
    assert {"breaker_open", "sts_error:UNAVAILABLE"} & reasons(rig)
    assert rig.said("127.0.0.1")


@pytest.mark.parametrize(
    "lie",
    [
        "nan",
        # Unit tests tell them apart; on the air they cost the same.
        *(pytest.param(other, marks=pytest.mark.extended) for other in ("garbage", "wrong_length", "error")),
    ],
)
async def test_sts_that_answers_nonsense_costs_those_dubs_only(rig: Rig, clip: Path, lie: str):
    await rig.start_sts(f"3-4:{lie}")
    recorder = await rig.record()
    worker = await rig.start_worker(grace_ms=1_000)
    report = await finish(rig, await rig.publish(clip, seconds=20), worker, recorder)
    untouched(report)
    rungs = aired(rig)
    assert rungs[3:5] == ["ducked", "ducked"]
    assert rungs[5:7] == ["dub", "dub"]
    assert all(reason.startswith("sts_error") for reason in reasons(rig))


async def test_publisher_drops_four_seconds_and_returns(rig: Rig, clip: Path):
    await rig.start_sts()
    recorder = await rig.record()
    worker = await rig.start_worker()
    first = await rig.publish(clip, seconds=12)
    await first.wait()
    await asyncio.wait_for(rig.until_progress(lambda line: line.get("state") == "input_absent", 20), 25)
    await asyncio.sleep(4)  # the fault itself: nobody publishes for so long
    second = await rig.publish(clip, seconds=14)
    await second.wait()
    os.kill(worker.pid, signal.SIGTERM)
    assert await asyncio.wait_for(worker.wait(), 30) == 0
    await rig.supervisor.stop(recorder)
    output = read_recording(rig.recording("out"))
    report = rig.report()
    heard_without_a_gap(report)
    assert video_gap_ms(output) < 4_000 + 3_000 + GOP_MS + 3_000
    assert connections(rig) == 1
    assert rig.said("waiting for the publisher to return")


async def test_publisher_returns_with_another_picture_and_other_sound(
    rig: Rig, clip: Path, small_mono_clip: Path
):
    await rig.start_sts()
    recorder = await rig.record()
    worker = await rig.start_worker()
    await (await rig.publish(clip, seconds=10)).wait()
    await (await rig.publish(small_mono_clip, seconds=14)).wait()
    os.kill(worker.pid, signal.SIGTERM)
    assert await asyncio.wait_for(worker.wait(), 30) == 0
    await rig.supervisor.stop(recorder)
    sizes = await decoded_sizes(rig.recording("out"))
    assert {(1280, 720), (640, 360)} <= sizes
    heard_without_a_gap(rig.report())
    assert connections(rig) == 1


async def test_no_audio_track_gives_video_with_silence(rig: Rig, mute_clip: Path):
    await rig.start_sts()
    recorder = await rig.record()
    worker = await rig.start_worker(grace_ms=1_000)
    report = await finish(rig, await rig.publish(mute_clip, seconds=12), worker, recorder)
    assert report["video"]["nal_identical"] == report["video"]["nal_total"] > 200
    assert rig.said("no usable audio")


async def test_no_publisher_ever_ends_with_its_own_exit_code(rig: Rig):
    worker = await rig.start_worker(no_input_timeout_ms=3_000)
    assert await asyncio.wait_for(worker.wait(), 20) == 3
    assert rig.said("no publisher")


async def test_output_refused_then_accepted_starts_late_and_in_sync(rig: Rig, clip: Path):
    """Somebody else holds `out`: the server refuses us until they leave."""
    await rig.start_sts()
    from local.processes import ProcessSpec  # noqa: PLC0415
    from local.publisher import publisher_argv  # noqa: PLC0415

    squatter = await rig.supervisor.start(
        ProcessSpec("squatter", publisher_argv(clip, rig.output_url, seconds=60))
    )
    worker = await rig.start_worker(grace_ms=1_000)
    publisher = await rig.publish(clip, seconds=34)
    await rig.until_progress(lambda line: line["event"] == "fragment", 30)
    await rig.supervisor.stop(squatter)
    recorder = await rig.record()
    report = await finish(rig, publisher, worker, recorder)
    assert report["video"]["nal_identical"] == report["video"]["nal_total"] > 200
    assert report["audio"]["holes"] == 0
    assert report["predicates"]["sync_every_event"]
    assert rig.said("refused")


async def test_sigterm_drains_what_is_buffered_and_exits_zero(rig: Rig, clip: Path):
    await rig.start_sts()
    recorder = await rig.record()
    worker = await rig.start_worker()
    publisher = await rig.publish(clip, seconds=40)
    await rig.until_progress(
        lambda line: line["event"] == "progress" and (line["input_media_ms"] or 0) > 10_000, 30
    )
    os.kill(worker.pid, signal.SIGTERM)
    assert await asyncio.wait_for(worker.wait(), rig.delay_ms / 1_000 + 5) == 0
    await rig.supervisor.stop(publisher)
    await rig.supervisor.stop(recorder)
    output, source = read_recording(rig.recording("out")), read_recording(rig.recording("in"))
    played_s = (output.end_ns - output.start_ns) / 1e9
    assert played_s > 9
    assert source.end_ns > 0
    assert rig.said("input is let go")


async def test_sigkill_and_restart_go_on_on_the_same_timeline(rig: Rig, clip: Path):
    await rig.start_sts()
    recorder = await rig.record()
    first = await rig.start_worker()
    publisher = await rig.publish(clip, seconds=45)
    await rig.until_progress(
        lambda line: line["event"] == "progress" and (line["input_media_ms"] or 0) > 12_000, 40
    )
    os.kill(first.pid, signal.SIGKILL)
    await first.wait()
    second = await rig.start_worker(grace_ms=1_000, generation=1)
    report = await finish(rig, publisher, second, recorder)
    output = read_recording(rig.recording("out"))
    assert video_gap_ms(output) <= rig.delay_ms + 3_000 + GOP_MS
    stamps = [packet.dts_ns for packet in output.video]
    assert stamps == sorted(stamps)
    assert report["predicates"]["delay_constant"]
    assert report["video"]["frames_altered"] == report["video"]["frames_foreign"] == 0


def video_gap_ms(recording: Any) -> float:
    stamps = [packet.dts_ns for packet in recording.video]
    return max(after - before for before, after in itertools.pairwise(stamps)) / 1e6


def connections(rig: Rig) -> int:
    """How often the worker began to publish `out`."""
    return len([line for line in rig.said("is live") if line.startswith("Output")])


async def decoded_sizes(path: Path) -> set[tuple[int, int]]:
    process = await asyncio.create_subprocess_exec(
        "ffprobe",
        "-v",
        "quiet",
        "-show_entries",
        "frame=width,height",
        "-select_streams",
        "v",
        "-of",
        "csv=p=0",
        str(path),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    pairs = (line.strip(",").split(",") for line in out.decode().splitlines() if line.strip())
    return {(int(width), int(height)) for width, height, *_ in pairs}
