import asyncio
import sys
from pathlib import Path

import av
import pytest

from local.media_servers.base import MediaServer, StreamPath
from local.ports import free_port
from local.processes import ProcessSpec, Supervisor, line_ready
from local.publisher import publisher_argv

from .streams import is_published, until


async def bridge(supervisor: Supervisor, *arguments: str) -> str:
    """Start the bridge for the stream `demo` and return its RTSP URL."""
    port = free_port()
    argv = (sys.executable, "-m", "local.media_servers.rtsp_bridge", "--port", str(port), *arguments, "demo")
    await supervisor.start(ProcessSpec("bridge", argv), ready=line_ready("^ready$"), ready_timeout_s=20)
    return f"rtsp://127.0.0.1:{port}/live/demo/in"


def first_packets(url: str, count: int):
    """(kind, payload) of the first packets of each kind."""
    found: dict[str, list[bytes]] = {"video": [], "audio": []}
    with av.open(url, options={"rtsp_transport": "tcp"}, timeout=(10, 10)) as container:
        for packet in container.demux():
            found[packet.stream.type].append(bytes(packet))
            if all(len(packets) >= count for packets in found.values()):
                break
    return found


def audio_of(path: Path) -> set[bytes]:
    with av.open(str(path)) as container:
        return {bytes(packet) for packet in container.demux(audio=0) if packet.size}


@pytest.mark.realtime
async def test_a_file_is_served_with_its_own_bytes(supervisor: Supervisor, small_clip: Path):
    url = await bridge(supervisor, "--file", str(small_clip))
    packets = await asyncio.to_thread(first_packets, url, 20)
    assert set(packets["audio"]) <= audio_of(small_clip)


@pytest.mark.realtime
async def test_a_stream_of_the_rtmp_server_is_served(
    nginx: MediaServer, supervisor: Supervisor, small_clip: Path
):
    argv = publisher_argv(small_clip, nginx.publish_url("demo"), loop=True)
    await supervisor.start(ProcessSpec("publisher", argv))
    await until(lambda: is_published(nginx, StreamPath("demo", "in")))
    url = await bridge(supervisor, "--rtmp", f"rtmp://127.0.0.1:{nginx.options.rtmp_port}")
    packets = await asyncio.to_thread(first_packets, url, 20)
    assert set(packets["audio"]) <= audio_of(small_clip)
    assert len(packets["video"]) >= 20


async def test_a_file_that_is_none_is_named(supervisor: Supervisor, tmp_path: Path):
    argv = (
        sys.executable,
        "-m",
        "local.media_servers.rtsp_bridge",
        "--file",
        str(tmp_path / "no.mp4"),
        "demo",
    )
    child = await supervisor.start(ProcessSpec("bridge", argv))
    assert await asyncio.wait_for(child.wait(), 20) == 2
    assert "no.mp4 is no readable MP4 or FLV file" in child.describe_end()
