"""A real media server, a real relay process and a control plane that is the test's own."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from local.loopback_client import http_request
from local.media_servers.base import MediaServer, MediaServerOptions, StreamPath
from local.media_servers.nginx_rtmp import NginxRtmp
from local.ports import free_ports
from local.processes import ChildProcess, ProcessSpec, Supervisor, http_ready
from local.publisher import publisher_argv
from local.python_child import python_spec

from .control_plane import KEY, FakeControlPlane


class Rig:
    """One media server with its relay."""

    def __init__(
        self,
        folder: Path,
        supervisor: Supervisor,
        control_plane: FakeControlPlane,
        server: MediaServer,
        clip: Path,
    ) -> None:
        self.folder = folder
        self.supervisor = supervisor
        self.control_plane = control_plane
        self.rules = control_plane.rules
        self.server = server
        self.relay: ChildProcess | None = None
        self._clip = clip
        self._publishers = 0

    @property
    def relay_url(self) -> str:
        assert self.server.options.relay_url
        return self.server.options.relay_url

    async def start_relay(self, **settings: str) -> ChildProcess:
        key_file = self.folder / "relay.key"
        key_file.write_text(KEY.hex() + "\n" + "00" * 32 + "\n")
        env = {
            "RELAY_ID": "media-1",
            "RELAY_PORT": self.relay_url.rpartition(":")[2],
            "RELAY_API_URL": self.control_plane.url,
            "RELAY_SIGNING_KEY_FILE": str(key_file),
            "RELAY_SERVER": "mediamtx" if self.server.kind == "mediamtx" else "nginx",
            "RELAY_SERVER_API_URL": self.server.control_url,
            "RELAY_PLAY_BASE_URL": self.server.rtmp_base_url,
            "RELAY_PUBLISH_BASE_URL": self.server.rtmp_base_url,
            "RELAY_REPORT_PERIOD_S": "0.5",
            **settings,
        }
        spec = python_spec("relay", "media_edge.mediamtx.relay", env=env)
        self.relay = await self.supervisor.start(
            spec, ready=http_ready(f"{self.relay_url}/health"), ready_timeout_s=30
        )
        return self.relay

    async def publish(self, stream_id: str, name: str = "in", query: str = "") -> ChildProcess:
        self._publishers += 1
        url = self.server.publish_url(stream_id, name) + (f"?{query}" if query else "")
        argv = publisher_argv(self._clip, url, loop=True)
        return await self.supervisor.start(
            ProcessSpec(f"publisher-{self._publishers}", argv, stop_timeout_s=5)
        )

    async def refused(self, publisher: ChildProcess) -> bool:
        """Whether it ends by itself, and not well."""
        return await asyncio.wait_for(publisher.wait(), 15) != 0

    async def published(self, stream_id: str, name: str) -> None:
        async def listed() -> bool:
            return StreamPath(stream_id, name) in await self.server.paths()

        await until(listed)

    async def health(self) -> dict[str, Any]:
        return json.loads(await http_request("GET", f"{self.relay_url}/health", timeout_s=5))


async def until(condition: Callable[[], Awaitable[bool]], *, timeout_s: float = 60.0) -> None:
    async def poll() -> None:
        while not await condition():  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.05)

    await asyncio.wait_for(poll(), timeout_s)


@pytest.fixture
def control_plane() -> Iterator[FakeControlPlane]:
    running = FakeControlPlane()
    running.start()
    yield running
    running.stop()


@pytest_asyncio.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    async with Supervisor(tmp_path / "logs") as running:
        yield running


@pytest_asyncio.fixture
async def rig(
    tmp_path: Path, supervisor: Supervisor, control_plane: FakeControlPlane, tiny_clip: Path
) -> AsyncIterator[Rig]:
    """nginx and its relay."""
    rtmp_port, http_port, relay_port = free_ports(3)
    options = MediaServerOptions(
        tmp_path / "nginx", rtmp_port, http_port, relay_url=f"http://127.0.0.1:{relay_port}"
    )
    server = NginxRtmp(options, supervisor)
    await server.start()
    rig = Rig(tmp_path, supervisor, control_plane, server, tiny_clip)
    await rig.start_relay()
    yield rig
    await server.stop()


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "tiny.mp4"
    subprocess.run(
        [
            *("ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin"),
            *("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=10:duration=6"),
            *("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=6"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-g", "10", "-c:a", "aac", str(path)),
        ],
        check=True,
        timeout=60,
    )
    return path
