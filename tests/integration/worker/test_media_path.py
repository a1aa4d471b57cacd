"""The worker's media path between real servers."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from livedub.verify.recording import read_recording
from local.ports import free_port
from local.processes import ProcessSpec, line_ready
from tests.integration.worker.rig import REPOSITORY, STREAM_ID, WorkerRig

pytestmark = [pytest.mark.realtime, pytest.mark.timeout(120)]

GOP_MS = 2_000


def assert_untouched_and_in_sync(report: dict[str, Any], *, events: int, median_ms: float) -> None:
    assert report["video"]["nal_identical"] == report["video"]["nal_total"] > 200
    assert report["video"]["overlap"] >= 0.95
    assert report["sync"]["events"] >= events
    assert abs(report["sync"]["median_ms"]) <= median_ms
    assert report["sync"]["max_abs_ms"] <= 25
    assert report["audio"]["holes"] == 0
    assert report["audio"]["resets"] == 0


async def test_rtmp_in_comes_out_d_later_by_the_wall_clock(rig: WorkerRig, clip: Path):
    recorder = await rig.record_both()
    worker = await rig.worker()
    publisher = await rig.publish(clip, seconds=12)
    await publisher.wait()
    assert await worker.ended() == 4
    await rig.supervisor.stop(recorder)
    report = rig.report()
    assert_untouched_and_in_sync(report, events=3, median_ms=5)
    # Only a wall clock sees a buffer that left early with the right timestamp on it.
    assert abs(report["video_delay"]["median_ms"] - 2_000) <= 60
    assert worker.said("The publisher has been away")


@pytest.mark.slow
async def test_rtsp_in_comes_out_in_sync(rig: WorkerRig, clip: Path):
    port = free_port()
    rtmp = rig.server.play_url(STREAM_ID, "in").rsplit("/live/", 1)[0]
    argv = [
        sys.executable,
        "-m",
        "local.media_servers.rtsp_bridge",
        STREAM_ID,
        "--port",
        str(port),
        "--rtmp",
        rtmp,
    ]
    await rig.supervisor.start(ProcessSpec("rtsp", argv, cwd=REPOSITORY), ready=line_ready("ready"))
    recorder = await rig.record_both()
    worker = await rig.worker(delay_ms=4_000, input_url=f"rtsp://127.0.0.1:{port}/live/{STREAM_ID}/in")
    publisher = await rig.publish(clip, seconds=16)
    await publisher.wait()
    assert await worker.ended() == 4
    await rig.supervisor.stop(recorder)
    assert_untouched_and_in_sync(rig.report(), events=4, median_ms=10)


@pytest.mark.slow
async def test_an_output_server_that_starts_late_gets_the_stream_where_it_is(rig: WorkerRig, clip: Path):
    late = await rig.second_server()
    recorder = await rig.record(
        **{"in": rig.server.play_url(STREAM_ID, "in"), "out": late.play_url(STREAM_ID, "out")}
    )
    worker = await rig.worker(output_url=late.publish_url(STREAM_ID, "out"))
    publisher = await rig.publish(clip, seconds=16)
    await worker.until_state("output_down")
    await late.start()
    await worker.until_state("live")
    await publisher.wait()
    assert await worker.ended() == 4
    await rig.supervisor.stop(recorder)
    await late.stop()
    report = rig.report()
    assert report["video"]["nal_identical"] == report["video"]["nal_total"] > 100
    assert report["audio"]["holes"] == 0
    assert worker.said("is refused")


@pytest.mark.slow
async def test_a_media_server_that_restarts_is_met_again_on_the_same_timeline(rig: WorkerRig, clip: Path):
    output = await rig.second_server()
    await output.start()
    recorder = await rig.record(out=output.play_url(STREAM_ID, "out"))
    worker = await rig.worker(output_url=output.publish_url(STREAM_ID, "out"))
    publisher = await rig.publish(clip, seconds=22)
    await worker.until(lambda line: (line.get("output_media_ms") or 0) > 5_000)
    await output.stop()
    await worker.until_state("output_down")
    again = await rig.second_server(output.options.rtmp_port)
    await again.start()
    await worker.until(lambda line: (line.get("output_media_ms") or 0) > 16_000)
    await publisher.wait()
    assert await worker.ended() == 4
    await rig.supervisor.stop(recorder)
    await again.stop()
    stamps = [unit.dts_ns for unit in read_recording(rig.recording("out")).video]
    assert stamps == sorted(stamps)
    gap_ms = max(after - before for before, after in itertools.pairwise(stamps)) / 1e6
    # nginx is away for about a second; then a back-off and the wait for a keyframe.
    assert gap_ms < 2_000 + 2_000 + GOP_MS
    assert len(worker.said("is live")) == 2
    assert worker.said("broke")


@pytest.mark.slow
async def test_a_third_party_gets_a_copy_and_its_end_does_not_touch_the_output(rig: WorkerRig, clip: Path):
    third = await rig.second_server()
    await third.start()
    recorder = await rig.record_both()
    copies = await rig.record(copy=third.play_url(STREAM_ID, "in"))
    worker = await rig.worker(forward_url=third.publish_url(STREAM_ID, "in"))
    publisher = await rig.publish(clip, seconds=20)
    await worker.until(lambda line: (line.get("output_media_ms") or 0) > 8_000)
    await third.stop()
    await publisher.wait()
    assert await worker.ended() == 4
    for child in (recorder, copies):
        await rig.supervisor.stop(child)
    assert_untouched_and_in_sync(rig.report(), events=6, median_ms=5)
    copied = {unit.dts_ns: unit.nal_digests for unit in read_recording(rig.recording("copy")).video}
    aired = {unit.dts_ns: unit.nal_digests for unit in read_recording(rig.recording("out")).video}
    assert len(copied) > 60
    assert all(aired[time_ns] == digests for time_ns, digests in copied.items())


async def test_sigterm_twice_ends_at_once(rig: WorkerRig, clip: Path):
    worker = await rig.worker(delay_ms=8_000)
    publisher = await rig.publish(clip)
    await worker.until_state("buffering")
    os.kill(worker.child.pid, signal.SIGTERM)
    await worker.until_state("draining")
    os.kill(worker.child.pid, signal.SIGTERM)
    assert await asyncio.wait_for(worker.ended(), 30) == 8, "not 0, as when what is buffered was played"
    await rig.supervisor.stop(publisher)


async def test_no_publisher_ever_ends_with_its_code(rig: WorkerRig):
    worker = await rig.worker(no_input_timeout_ms=1_000)
    assert await worker.ended() == 3
    assert worker.said("No publisher came")
    assert worker.progress[-1] == {"event": "end", "exit_code": 3, "outcome": "source_lost"}


@pytest.mark.slow
async def test_another_delay_after_a_restart_never_takes_output_time_back(rig: WorkerRig, clip: Path):
    recorder = await rig.record(out=rig.server.play_url(STREAM_ID, "out"))
    publisher = await rig.publish(clip)
    first = await rig.worker(delay_ms=3_000)
    await first.until(lambda line: (line.get("output_media_ms") or 0) > 2_000)
    os.kill(first.child.pid, signal.SIGKILL)
    await first.ended()
    second = await rig.worker(delay_ms=2_000, generation=1)
    await second.until(lambda line: (line.get("output_media_ms") or 0) > 6_000)
    await rig.supervisor.stop(second.child)
    await rig.supervisor.stop(publisher)
    await rig.supervisor.stop(recorder)
    stamps = [unit.dts_ns for unit in read_recording(rig.recording("out")).video]
    assert stamps == sorted(stamps)
    assert second.said("D is 2000 ms from now on")
    assert second.said("goes on with the publisher's own time")
