"""The real MediaMTX, held to what the stack takes from a media server."""

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from urllib.parse import parse_qs

import av
import pytest
import pytest_asyncio

from local.loopback_client import http_status
from local.media_servers.base import MediaServerOptions, StreamPath
from local.media_servers.mediamtx import MediaMtx, find_mediamtx
from local.ports import free_ports
from local.processes import ProcessSpec, Supervisor
from local.publisher import publisher_argv

from .streams import arrivals, file_packets, is_published, publish, recorder_spec, until

pytestmark = [
    pytest.mark.mediamtx,
    pytest.mark.skipif(
        find_mediamtx() is None, reason="mediamtx is not on PATH (Debian does not package it)"
    ),
]

IN = StreamPath("demo", "in")

Events = Queue[tuple[str, str]]


@pytest.fixture
def hook():
    """(url, queue of (event, path))."""
    heard: Events = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            heard.put((form["event"][0], form["path"][0]))
            self.send_response(HTTPStatus.NO_CONTENT)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/", heard
    server.shutdown()
    thread.join()
    server.server_close()


@pytest_asyncio.fixture
async def mediamtx(
    tmp_path: Path, supervisor: Supervisor, hook: tuple[str, Events]
) -> AsyncIterator[MediaMtx]:
    rtmp_port, http_port = free_ports(2)
    options = MediaServerOptions(tmp_path / "mediamtx", rtmp_port, http_port, hook_url=hook[0])
    server = MediaMtx(options, supervisor)
    await server.start()
    yield server
    await server.stop()


async def test_its_configuration_is_accepted_without_a_word_about_deprecated_keys(
    mediamtx: MediaMtx, tmp_path: Path
):
    log = (tmp_path / "logs/mediamtx.log").read_text()
    assert await mediamtx.paths() == []
    assert "deprecated" not in log
    assert "unknown field" not in log


async def test_a_publisher_is_listed_heard_of_and_kicked(
    mediamtx: MediaMtx, supervisor: Supervisor, small_clip: Path, hook: tuple[str, Events]
):
    publisher = await publish(supervisor, small_clip, mediamtx.publish_url("demo"))
    await until(lambda: is_published(mediamtx, IN))
    assert await asyncio.to_thread(hook[1].get, timeout=10) == ("ready", "live/demo/in")
    assert await mediamtx.kick(IN)
    assert await asyncio.wait_for(publisher.wait(), 10) != 0
    assert not await mediamtx.kick(IN)

    def not_ready() -> tuple[str, str]:
        return next(iter(lambda: hook[1].get(timeout=40), ("ready", "live/demo/in")))

    assert await asyncio.to_thread(not_ready) == ("not_ready", "live/demo/in")


async def test_a_second_publisher_and_a_foreign_path_are_refused(
    mediamtx: MediaMtx, supervisor: Supervisor, small_clip: Path
):
    first = await publish(supervisor, small_clip, mediamtx.publish_url("demo"), "first")
    await until(lambda: is_published(mediamtx, IN))
    second = await publish(supervisor, small_clip, mediamtx.publish_url("demo"), "second")
    foreign = await publish(
        supervisor, small_clip, mediamtx.publish_url("x").replace("/in", "/else"), "foreign"
    )
    assert await asyncio.wait_for(second.wait(), 10) != 0
    assert await asyncio.wait_for(foreign.wait(), 10) != 0
    assert first.returncode is None


async def test_hls_and_the_page_are_served(mediamtx: MediaMtx, supervisor: Supervisor, small_clip: Path):
    await publish(supervisor, small_clip, mediamtx.publish_url("demo"))

    async def listed():
        return await http_status(mediamtx.hls_url("demo", "in"), timeout_s=10) == 200

    await until(listed, timeout_s=60)
    assert await http_status(mediamtx.watch_url("demo", "in"), timeout_s=10) == 200


async def test_rtsp_gives_out_what_came_in_by_rtmp(
    mediamtx: MediaMtx, supervisor: Supervisor, small_clip: Path
):
    argv = publisher_argv(small_clip, mediamtx.publish_url("demo"), loop=True)
    await supervisor.start(ProcessSpec("publisher", argv))
    await until(lambda: is_published(mediamtx, IN))

    def kinds() -> set[str]:
        with av.open(
            mediamtx.rtsp_url("demo"), options={"rtsp_transport": "tcp"}, timeout=(10, 10)
        ) as container:
            return {stream.type for stream in container.streams}

    assert await asyncio.to_thread(kinds) == {"video", "audio"}


@pytest.mark.realtime
async def test_the_recorder_reads_it(
    mediamtx: MediaMtx, supervisor: Supervisor, small_clip: Path, tmp_path: Path
):
    path = tmp_path / "in.flv"
    url = mediamtx.publish_url("demo")
    recorder = await supervisor.start(recorder_spec(url, path, "--return-s", "0.5"))
    publisher = await supervisor.start(ProcessSpec("publisher", publisher_argv(small_clip, url, seconds=6)))
    assert await asyncio.wait_for(publisher.wait(), 20) == 0
    assert await asyncio.wait_for(recorder.wait(), 15) == 0
    assert len(arrivals(path)) == len(file_packets(path)) > 100
