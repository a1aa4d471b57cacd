"""Several languages of one stream between real servers: one timeline, and none disturbs another."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from livedub.verify.recording import Recording, read_recording
from local.processes import ProcessSpec
from local.publisher import publisher_argv
from tests.integration.worker.rig import STREAM_ID, WorkerRig

pytestmark = [pytest.mark.realtime, pytest.mark.slow, pytest.mark.timeout(150)]

FRENCH, GERMAN = {"language": "fr"}, {"language": "de"}
AAC_MS = 1024 / 48


def sounds(recording: Recording) -> list[int]:
    return [packet.pts_ns // 1_000_000 for packet in recording.audio]


def pictures(recording: Recording) -> dict[int, tuple[bytes, ...]]:
    return {unit.dts_ns // 1_000_000: unit.nal_digests for unit in recording.video}


def assert_beside(other: Recording, first: Recording) -> None:
    """Every frame of sound and every picture lies where the first output has its own."""
    assert len(other.audio) > 100
    assert set(sounds(other)) <= set(sounds(first))
    aired = pictures(first)
    assert len(other.video) > 50
    assert all(aired[time_ms] == digests for time_ms, digests in pictures(other).items())


def assert_without_hole(recording: Recording) -> None:
    steps = {after - before for before, after in itertools.pairwise(sounds(recording))}
    assert all(AAC_MS - 1 <= step <= AAC_MS + 1 for step in steps), sorted(steps)


async def test_languages_come_and_go_on_one_timeline(rig: WorkerRig, clip: Path, tmp_path: Path):
    sts = await rig.sts()
    recorders = [await rig.record_both()]
    recorders += [
        await rig.record(**{name: rig.server.play_url(STREAM_ID, name)}) for name in ("out-fr", "out-de")
    ]
    publisher = await rig.publish(clip)
    async with rig.supervised(
        sts_url=sts,
        source_language="es",
        target_language="en",
        more_targets=[FRENCH],
        subtitles_dir=str(tmp_path / "subtitles"),
    ) as worker:
        await worker.until_output("out", "live")
        await worker.until_output("out-fr", "live")
        await worker.until_sent_ms(5_000)
        worker.change(more_targets=[FRENCH, GERMAN])
        await worker.until_output("out-de", "live")
        await worker.until_sent_ms(3_000, "out-de")
        worker.change(more_targets=[GERMAN])
        await worker.until_output("out-fr", "removed")
        await worker.until_sent_ms(4_000, "out-de")
        await rig.supervisor.stop(publisher)
        assert await worker.ended() == 4
    for recorder in recorders:
        await rig.supervisor.stop(recorder)

    report = rig.report()
    assert report["video"]["nal_identical"] == report["video"]["nal_total"] > 200
    assert report["audio"]["holes"] == 0
    assert report["audio"]["resets"] == 0
    first, french, german = (read_recording(rig.recording(name)) for name in ("out", "out-fr", "out-de"))
    for recording in (first, french, german):
        assert_without_hole(recording)
    assert_beside(french, first)
    assert_beside(german, first)
    assert french.end_ns < german.end_ns
    assert len(worker.said("/out is live")) == 1

    lines = [json.loads(line) for line in rig.events_path.read_text().splitlines()]
    fragments = [line for line in lines if line["event"] == "fragment"]
    assert {line["target_language"] for line in fragments} == {"en"}
    assert fragments[0]["languages"].keys() == {"fr"}
    assert fragments[0]["languages"]["fr"]["rung"] == "dub"
    assert fragments[-1]["languages"].keys() == {"de"}
    subtitles = tmp_path / "subtitles" / STREAM_ID
    assert {path.name for path in subtitles.iterdir()} == {"en.vtt", "fr.vtt", "de.vtt"}
    assert all(path.read_text().count(" --> ") >= 2 for path in subtitles.iterdir())


async def test_an_output_that_is_refused_touches_no_other(rig: WorkerRig, clip: Path):
    # Somebody sits on `out-fr`: the worker is refused there until he leaves.
    argv = publisher_argv(clip, rig.server.publish_url(STREAM_ID, "out-fr"))
    intruder = await rig.supervisor.start(ProcessSpec("intruder", argv, stop_timeout_s=5))
    recorder = await rig.record_both()
    publisher = await rig.publish(clip)
    # Nobody answers at the STS address: what airs is the original.
    async with rig.supervised(sts_url="http://127.0.0.1:1", more_targets=[FRENCH]) as worker:
        await worker.until_output("out-fr", "backing_off")
        await worker.until_sent_ms(6_000)
        await rig.supervisor.stop(intruder)
        await worker.until_output("out-fr", "live")
        await worker.until_sent_ms(2_000)
        await rig.supervisor.stop(publisher)
        assert await worker.ended() == 4
    await rig.supervisor.stop(recorder)
    report = rig.report()
    assert report["audio"]["holes"] == 0
    assert abs(report["video_delay"]["median_ms"] - 3_000) <= 60
    assert_without_hole(read_recording(rig.recording("out")))
    assert len(worker.said("/out is live")) == 1
    assert worker.said("/out-fr is refused")
