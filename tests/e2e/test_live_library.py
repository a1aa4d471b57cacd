"""A live stream ends, and what it left is in the library: the whole of it, with real processes."""

import asyncio
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from local.library_stack import Library, LibraryOptions
from local.publisher import publisher_argv
from local.stack import Stack, StackOptions
from local.sync_clip import sync_clip
from tests.e2e.rig import clip_cache

pytestmark = [pytest.mark.realtime, pytest.mark.slow, pytest.mark.timeout(240)]

SECONDS = 10
BOUND_S = 90.0


async def assets(library: Library) -> dict[str, dict[str, object]]:
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        answer = await client.get(
            f"{library.url}/api/assets",
            params={"prefix": "live/"},
            headers={"Authorization": f"Bearer {library.api_token}"},
        )
    answer.raise_for_status()
    return {asset["key"]: asset for asset in answer.json()["items"]}


async def test_a_streams_subtitles_and_recording_are_assets(tmp_path: Path):
    options = StackOptions(
        profile="mock",
        server="nginx-rtmp",
        delay_ms=3_000,
        grace_ms=1_500,
        report_period_s=3,
        library=LibraryOptions(tmp_path / "library", port=0, objects_port=0, api_processes=1),
        worker_env={
            "WORKER_SEPARATION": "off",
            "WORKER_STS_BUDGET_MS": "1000",
            "AGENT_LIBRARY_RECORDS": "true",
        },
    )
    (tmp_path / "run").mkdir()
    stack = Stack(
        options,
        run_dir=tmp_path / "run",
        log_dir=tmp_path / "logs",
        events_dir=tmp_path / "events",
        on_event=lambda _event: None,
    )
    async with stack:
        library = stack.library
        assert library is not None
        url = stack.server.publish_url("match")
        clip = sync_clip("standard", 60, clip_cache())
        publish = publisher_argv(clip, url, seconds=SECONDS)
        await asyncio.to_thread(subprocess.run, publish, check=True, timeout=BOUND_S)
        deadline_s = time.monotonic() + BOUND_S
        wanted = {"live/match/1/en.vtt", "live/match/1/out.flv"}
        while set(found := await assets(library)) != wanted:
            assert time.monotonic() < deadline_s, found
            await asyncio.sleep(0.5)
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            subtitles = await client.get(f"{library.url}/media/in/live/match/1/en.vtt")
        assert subtitles.text.startswith("WEBVTT")
        assert "-->" in subtitles.text
        assert list((tmp_path / "library" / "live").iterdir()) == []
