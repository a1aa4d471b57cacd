"""The RTMP elements against servers that misbehave."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from livedub.timeline.clock import NS_PER_MS
from local.ports import free_port
from media_edge.worker.endpoints import Endpoint, parse_endpoint
from media_edge.worker.flv import pack_audio
from media_edge.worker.gst.pipeline import local_now_ns
from media_edge.worker.gst.publisher import RtmpPublisher
from media_edge.worker.gst.rtmp_ingest import RtmpIngest
from media_edge.worker.gst.rtsp_ingest import RtspIngest

BOUND_S = 60.0


def endpoint(port: int) -> Endpoint:
    return parse_endpoint("TEST", f"rtmp://127.0.0.1:{port}/live/rig/out", ("rtmp",))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(BOUND_S):
        while not condition():  # noqa: ASYNC110 - GStreamer's threads change it
            await asyncio.sleep(0.01)


@pytest.fixture
def black_hole() -> Iterator[socket.socket]:
    """A socket that accepts connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        yield listener


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


async def test_a_refused_publisher_says_so():
    publisher = RtmpPublisher(endpoint(free_port()))
    try:

        def failed() -> bool:
            publisher.poll()
            return publisher.failure is not None

        await until(failed)
        assert "refused" in str(publisher.failure)
    finally:
        publisher.close()


async def test_a_server_that_never_answers_takes_nothing_and_can_be_left(black_hole: socket.socket):
    publisher = RtmpPublisher(endpoint(port_of(black_hole)))
    publisher.push([(pack_audio(b"x" * 100, index), local_now_ns() - NS_PER_MS) for index in range(50)])
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(BOUND_S):
        connection, _ = await loop.sock_accept(black_hole)
        with connection:
            connection.setblocking(False)
            assert len(await loop.sock_recv(connection, 1_537)) > 0
            publisher.poll()
            # They are due together, so they were taken together; no more of them is.
            publisher.push([(pack_audio(b"y", index), local_now_ns() - NS_PER_MS) for index in range(50)])
            assert publisher.queued_tags >= 50
            began = time.monotonic()
            publisher.close()
            assert time.monotonic() - began < 5  # and not when the connection gives up


async def test_an_ingest_of_a_silent_server_ends_by_itself(black_hole: socket.socket):
    ingest = RtmpIngest(endpoint(port_of(black_hole)), idle_timeout_s=1, on_problem=lambda _: None)
    try:
        await until(lambda: ingest.poll() == [] and ingest.ended is not None)
    finally:
        ingest.close()


async def test_an_ingest_of_nobody_ends_with_a_reason():
    ingest = RtmpIngest(endpoint(free_port()), idle_timeout_s=1, on_problem=lambda _: None)
    try:
        await until(lambda: ingest.poll() == [] and ingest.ended is not None)
        assert "refused" in str(ingest.ended)
    finally:
        ingest.close()


@pytest.mark.parametrize("scheme", ["rtmp", "rtsp"])
async def test_asking_again_and_again_keeps_no_socket_open(scheme: str):
    address = parse_endpoint("TEST", f"{scheme}://127.0.0.1:{free_port()}/live/rig/in", (scheme,))

    async def attempt() -> None:
        ingest = (
            RtmpIngest(address, idle_timeout_s=5, on_problem=lambda _: None)
            if scheme == "rtmp"
            else RtspIngest(address, latency_ms=0, idle_timeout_s=5, on_problem=lambda _: None)
        )
        try:
            await until(lambda: ingest.poll() == [] and ingest.ended is not None)
        finally:
            ingest.close()

    await attempt()
    before = open_files()
    for _ in range(25):
        await attempt()
    await until(lambda: gc.collect() >= 0 and open_files() <= before + 6)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
