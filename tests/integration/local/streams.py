"""What the tests of this folder do with streams."""

import asyncio
import hashlib
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import av

from local.media_servers.base import MediaServer, StreamPath
from local.processes import ProcessSpec, Supervisor
from local.publisher import publisher_argv
from local.recorder import arrivals_path


async def until(condition: Callable[[], Awaitable[bool]], *, timeout_s: float = 60.0):
    async def poll():
        while not await condition():  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.05)

    await asyncio.wait_for(poll(), timeout_s)


async def publish(supervisor: Supervisor, clip: Path, url: str, name: str = "publisher"):
    return await supervisor.start(ProcessSpec(name, publisher_argv(clip, url), stop_timeout_s=5))


async def is_published(server: MediaServer, path: StreamPath):
    return path in await server.paths()


def recorder_spec(url: str, path: Path, *options: str):
    argv = (sys.executable, "-m", "local.recorder", url, str(path), *options)
    return ProcessSpec("recorder", argv, stop_timeout_s=5)


def arrivals(path: Path):
    return [json.loads(line) for line in arrivals_path(path).read_text().splitlines()]


def file_packets(path: Path):
    """(kind, pts_ns, dts_ns, sha256) of every packet, by a demuxer that shares nothing with the recorder."""
    found = []
    with av.open(str(path)) as container:
        for packet in container.demux(video=0, audio=0):
            if packet.dts is None or packet.pts is None:
                continue
            ns = int(packet.time_base * 1_000_000_000)
            digest = hashlib.sha256(bytes(packet)).hexdigest()[:16]
            found.append((packet.stream.type, packet.pts * ns, packet.dts * ns, digest))
    return found
