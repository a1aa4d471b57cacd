import asyncio
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from local.media_servers.base import MediaServer
from local.processes import ProcessSpec, Supervisor
from local.publisher import publisher_argv
from local.recorder import EXIT_NEVER_APPEARED

from .streams import arrivals, file_packets, recorder_spec


@pytest.mark.realtime
async def test_a_recording_holds_what_was_published_with_its_times(
    nginx: MediaServer, supervisor: Supervisor, small_clip: Path, tmp_path: Path
):
    path = tmp_path / "in.flv"
    url = nginx.publish_url("demo")
    recorder = await supervisor.start(recorder_spec(url, path, "--return-s", "0.5"))
    publisher = await supervisor.start(ProcessSpec("publisher", publisher_argv(small_clip, url, seconds=8)))
    assert await asyncio.wait_for(publisher.wait(), 20) == 0
    assert await asyncio.wait_for(recorder.wait(), 10) == 0

    lines = arrivals(path)
    assert [(line["kind"], line["pts_ns"], line["dts_ns"], line["sha256"]) for line in lines] == file_packets(
        path
    )
    source = {digest for _, _, _, digest in file_packets(small_clip)}
    assert {line["sha256"] for line in lines} <= source
    for kind, due in (("video", 8 * 30), ("audio", 8 * 48000 / 1024)):
        recorded = [line for line in lines if line["kind"] == kind]
        assert len(recorded) >= due - 2 * 48, "at most the first two seconds are lost to the join"
        late_ms = np.array([line["utc_ns"] - line["dts_ns"] for line in recorded]) / 1e6
        late_ms -= np.median(late_ms)
        # ffmpeg paces in steps of 10 ms and the machine is shared; an arrival stamp must not add to that.
        assert np.percentile(np.abs(late_ms), 90) < 40


async def test_a_recorder_ended_by_sigterm_leaves_whole_files(
    nginx: MediaServer, supervisor: Supervisor, small_clip: Path, tmp_path: Path
):
    path = tmp_path / "in.flv"
    url = nginx.publish_url("demo")
    recorder = await supervisor.start(recorder_spec(url, path))
    await supervisor.start(ProcessSpec("publisher", publisher_argv(small_clip, url)))
    await asyncio.wait_for(recorder.line('"recording"'), 15)
    await asyncio.sleep(1)  # let it record something
    assert await supervisor.stop(recorder) == 0
    assert len(arrivals(path)) == len(file_packets(path)) > 0


async def test_a_publisher_that_returns_is_recorded_into_the_same_file(
    nginx: MediaServer, supervisor: Supervisor, small_clip: Path, tmp_path: Path
):
    path = tmp_path / "in.flv"
    url = nginx.publish_url("demo")
    recorder = await supervisor.start(recorder_spec(url, path, "--return-s", "8"))
    for name in ("first", "second"):
        publisher = await supervisor.start(ProcessSpec(name, publisher_argv(small_clip, url, seconds=3)))
        assert await asyncio.wait_for(publisher.wait(), 15) == 0
    assert await supervisor.stop(recorder) == 0
    dts = [line["dts_ns"] for line in arrivals(path) if line["kind"] == "video"]
    assert sum(later < earlier for earlier, later in pairwise(dts)) == 1


async def test_a_stream_that_never_appears_is_said_so(
    nginx: MediaServer, supervisor: Supervisor, tmp_path: Path
):
    spec = recorder_spec(nginx.play_url("nobody"), tmp_path / "out.flv", "--wait-s", "0.5")
    recorder = await supervisor.start(spec)
    assert await asyncio.wait_for(recorder.wait(), 15) == EXIT_NEVER_APPEARED
    assert "nobody published it" in recorder.describe_end()
