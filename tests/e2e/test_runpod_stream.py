"""A live stream dubbed by a worker behind RunPod's queue, from publisher to verified recording."""

import asyncio
import json
from pathlib import Path

import pytest

from local.processes import Supervisor
from local.python_child import python_spec
from local.sync_clip import sync_clip

# make deploy-local dubs a stream behind the same queue.
pytestmark = [pytest.mark.realtime, pytest.mark.slow, pytest.mark.extended, pytest.mark.timeout(300)]

SECONDS = 15
BOUND_S = 240.0


async def test_a_demo_behind_the_queue_is_dubbed_and_verified(tmp_path: Path):
    out = tmp_path / "out"
    clip = sync_clip("small", 20, tmp_path)
    spec = python_spec(
        "local",
        *("local", "demo", "--sts", "runpod", "--profile", "mock", "--server", "nginx-rtmp"),
        *("--input", str(clip), "--seconds", str(SECONDS), "--delay-ms", "6000", "--no-page"),
        *("--out", str(out)),
        # Without the separation the clip's beeps pass for speech.
        env={
            "XDG_STATE_HOME": str(tmp_path / "state"),
            "STS_SERVICE_URL": None,
            "WORKER_SEPARATION": "off",
        },
        stop_timeout_s=20,
    )
    async with Supervisor(tmp_path / "logs") as supervisor:
        demo = await supervisor.start(spec)
        code = await asyncio.wait_for(demo.wait(), BOUND_S)
        assert code in (0, 1), demo.describe_end()
    report = json.loads((out / "report.json").read_text())
    # What a busy machine cannot spoil; how steady the wall clock was is the benchmarks' matter.
    sound = ("video_untouched", "video_complete", "delay_constant", "delay_as_configured", "audio_no_holes")
    assert [name for name in sound if not report["predicates"][name]] == []
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    fragments = [event for event in events if event["event"] == "fragment"]
    assert any(fragment["rung"] == "dub" for fragment in fragments), fragments
    worker_log = (out / "logs" / "sts.log").read_text()
    assert "fragment dubbed" in worker_log
