"""The worker's own RTMP elements against a media server that asks for the generation's token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from media_edge.worker.endpoints import parse_endpoint
from media_edge.worker.flv import pack_audio
from media_edge.worker.gst.pipeline import local_now_ns
from media_edge.worker.gst.publisher import RtmpPublisher

from .conftest import Rig, until

# Characters of a urlsafe token that a parser on the way could stumble over.
TOKEN = "-_a9" * 10 + "-_" + "z" * 1


@asynccontextmanager
async def worker_output(rig: Rig, token: str) -> AsyncIterator[RtmpPublisher]:
    """A publishing session as the worker opens it, fed with a tag every 20 ms."""
    url = f"{rig.server.publish_url('demo', 'out')}?token={token}"
    publisher = RtmpPublisher(parse_endpoint("WORKER_OUTPUT_URL", url, ("rtmp",)))

    async def feed() -> None:
        for index in range(100_000):
            publisher.push([(pack_audio(b"\x21\x10\x04", index * 20), local_now_ns())])
            publisher.poll()
            await asyncio.sleep(0.02)

    feeding = asyncio.create_task(feed())
    try:
        yield publisher
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        await asyncio.to_thread(publisher.close)


async def failed(publisher: RtmpPublisher) -> str:
    async def over() -> bool:
        return publisher.failure is not None

    await until(over)
    return str(publisher.failure)


async def test_the_token_in_the_output_url_arrives_whole_and_opens_the_path(rig: Rig):
    rig.rules.holders["demo"] = (TOKEN, 3)
    async with worker_output(rig, TOKEN) as publisher:
        await rig.published("demo", "out")
        assert publisher.failure is None
    assert [question.credential for question in rig.control_plane.questions] == [TOKEN]


async def test_a_worker_that_was_replaced_is_put_out_and_stays_out(rig: Rig):
    rig.rules.holders["demo"] = (TOKEN, 1)
    async with worker_output(rig, TOKEN) as old:
        await rig.published("demo", "out")
        rig.rules.holders["demo"] = ("successor", 2)
        async with worker_output(rig, "successor") as new:
            reason = await failed(old)
            await rig.published("demo", "out")
            async with worker_output(rig, TOKEN) as again:
                refusal = await failed(again)
            assert new.failure is None
    assert TOKEN not in reason + refusal
    assert TOKEN not in (rig.folder / "logs" / "relay.log").read_text()
