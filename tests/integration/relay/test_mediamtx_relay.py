"""The real MediaMTX and the relay: the same as with nginx, asked by MediaMTX's own auth and hooks."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from local.media_servers.base import MediaServerOptions
from local.media_servers.mediamtx import MediaMtx, find_mediamtx
from local.ports import free_ports
from local.processes import Supervisor

from .conftest import Rig, until
from .control_plane import FakeControlPlane

pytestmark = [
    pytest.mark.mediamtx,
    pytest.mark.skipif(
        find_mediamtx() is None, reason="mediamtx is not on PATH (Debian does not package it)"
    ),
]


@pytest_asyncio.fixture
async def mediamtx_rig(
    tmp_path: Path, supervisor: Supervisor, control_plane: FakeControlPlane, tiny_clip: Path
) -> AsyncIterator[Rig]:
    rtmp_port, http_port, relay_port = free_ports(3)
    relay_url = f"http://127.0.0.1:{relay_port}"
    options = MediaServerOptions(tmp_path / "mediamtx", rtmp_port, http_port, relay_url=relay_url)
    server = MediaMtx(options, supervisor)
    await server.start()
    rig = Rig(tmp_path, supervisor, control_plane, server, tiny_clip)
    await rig.start_relay()
    yield rig
    await server.stop()


async def test_a_publisher_with_the_stream_key_is_let_in_announced_and_reported(mediamtx_rig: Rig):
    rig = mediamtx_rig
    rig.rules.stream_keys["demo"] = "k-1"
    publisher = await rig.publish("demo", query="key=k-1")
    await rig.published("demo", "in")

    async def reported() -> bool:
        return any(report.paths for report in rig.control_plane.reports)

    await until(reported)
    await rig.supervisor.stop(publisher)

    async def left() -> bool:
        return "unpublish" in [event for event, _ in rig.control_plane.hooks]

    await until(left)
    listed = {path.source_id for report in rig.control_plane.reports for path in report.paths}
    assert {source_id for _, source_id in rig.control_plane.events()} == listed
    assert rig.control_plane.rejected == []


async def test_a_wrong_key_or_token_is_refused(mediamtx_rig: Rig):
    rig = mediamtx_rig
    rig.rules.stream_keys["demo"] = "k-1"
    rig.rules.holders["demo"] = ("token-1", 1)
    assert await rig.refused(await rig.publish("demo", query="key=k-2"))
    assert await rig.refused(await rig.publish("demo", "out", "token=token-0"))
    assert await rig.server.paths() == []


async def test_a_newer_generation_takes_the_path_over(mediamtx_rig: Rig):
    rig = mediamtx_rig
    rig.rules.holders["demo"] = ("token-1", 1)
    old = await rig.publish("demo", "out", "token=token-1")
    await rig.published("demo", "out")
    rig.rules.holders["demo"] = ("token-2", 2)
    new = await rig.publish("demo", "out", "token=token-2")
    assert await rig.refused(old)
    await rig.published("demo", "out")
    rig.rules.holders["demo"] = ("token-1", 1)
    assert await rig.refused(await rig.publish("demo", "out", "token=token-1"))
    assert new.returncode is None


async def test_the_holder_of_the_token_has_the_publisher_kicked(mediamtx_rig: Rig):
    rig = mediamtx_rig
    rig.rules.holders["demo"] = ("token-1", 1)
    publisher = await rig.publish("demo", "out", "token=token-1")
    await rig.published("demo", "out")
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        answer = await client.post(
            f"{rig.relay_url}/v1/kick", json={"path": "live/demo/out", "token": "token-1"}
        )
    assert answer.json() == {"kicked": True}
    assert await asyncio.wait_for(publisher.wait(), 10) != 0
