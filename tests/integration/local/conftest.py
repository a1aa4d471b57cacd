"""A running media server and a clip to publish."""

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from local.media_servers.base import MediaServer, MediaServerOptions
from local.media_servers.nginx_rtmp import NginxRtmp
from local.ports import free_ports
from local.processes import Supervisor


@pytest_asyncio.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    async with Supervisor(tmp_path / "logs") as running:
        yield running


@pytest_asyncio.fixture
async def nginx(tmp_path: Path, supervisor: Supervisor) -> AsyncIterator[MediaServer]:
    rtmp_port, http_port = free_ports(2)
    options = MediaServerOptions(tmp_path / "nginx", rtmp_port, http_port, idle_publisher_s=30)
    server = NginxRtmp(options, supervisor)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds with B-frames and a keyframe every second."""
    path = tmp_path_factory.mktemp("clip") / "small.mp4"
    subprocess.run(
        [
            *("ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin"),
            *("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30:duration=12"),
            *("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=12"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "30", "-c:a", "aac", str(path)),
        ],
        check=True,
        timeout=60,
    )
    return path
