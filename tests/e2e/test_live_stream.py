"""The promise to viewers on an undisturbed stream, measured from recordings."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.rig import Rig

pytestmark = [pytest.mark.realtime, pytest.mark.timeout(180)]


async def dub_for(rig: Rig, clip: Path, seconds: float, **settings: Any) -> dict[str, Any]:
    """Publish `seconds` of the clip through a worker and measure what came out."""
    await rig.start_sts()
    recorder = await rig.record()
    worker = await rig.start_worker(grace_ms=1_000, **settings)
    publisher = await rig.publish(clip, seconds=seconds)
    await asyncio.wait_for(publisher.wait(), seconds + 30)
    await asyncio.wait_for(worker.wait(), 30)
    await rig.supervisor.stop(recorder)
    return rig.report()


def failed(report: dict[str, Any]) -> dict[str, Any]:
    return {
        name: report["reasons"].get(name) for name, passed in report["predicates"].items() if passed is False
    }


async def test_video_is_untouched_sound_in_sync_and_delay_constant(rig: Rig, clip: Path):
    report = await dub_for(rig, clip, 16)
    assert failed(report) == {}
    assert report["video"]["nal_identical"] == report["video"]["nal_total"] > 300
    assert report["sync"]["events"] >= 5
    assert abs(report["video_delay"]["median_ms"] - rig.delay_ms) < 60
    assert report["audio"]["holes"] == 0
