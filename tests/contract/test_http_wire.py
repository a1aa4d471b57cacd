"""What arrives on the wire when callers are slow, gone, greedy or odd."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from gpu_handler.http_connection import BoundedConnection
from gpu_handler.http_service import BodyLimits
from livedub.sts.contract import Dub, ErrorCode, StsResult
from tests.contract.sts_rig import BOUND_S, RunningService, ScriptedPipeline, answer_for, service
from tests.unit.livedub.sts.exchanges import request

PROCESS = "/api/v1/sts/process"
STREAM = "/api/v1/sts/stream"
LARGE_BYTES = 25 * 1024 * 1024


class Impatient(BoundedConnection):
    """Gives up soon, so that a test need not wait."""

    head_timeout_s = 0.1
    unread_timeout_s = 0.1


@contextlib.asynccontextmanager
async def connection(
    running: RunningService,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def raw(running: RunningService, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=running.url, headers=headers, timeout=BOUND_S, trust_env=False
    ) as http:
        yield http


def head(path: str, length: int | None, **headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: sts", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append("transfer-encoding: chunked" if length is None else f"content-length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def body(**fields: Any) -> bytes:
    return json.dumps({**json.loads(request().model_dump_json()), "deadline_ms": 60_000, **fields}).encode()


def whole(path: str, content: bytes) -> bytes:
    return head(path, len(content)) + content


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What still comes until the service closes the connection."""
    with contextlib.suppress(ConnectionResetError):
        return await asyncio.wait_for(reader.read(), BOUND_S)
    return b""


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of the next answer on a connection that goes on."""
    lines = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), BOUND_S)).lower().split(b"\r\n")
    length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
    return int(lines[0].split()[1]), await asyncio.wait_for(reader.readexactly(length), BOUND_S)


def refused_with(answered: httpx.Response, status: int, code: ErrorCode) -> str:
    assert answered.status_code == status
    error = StsResult.model_validate_json(answered.content, strict=True).error
    assert error is not None
    assert error.code is code
    return error.message


class TestLargeBodies:
    async def test_25_mb_is_refused_from_its_head(self):
        pipeline = ScriptedPipeline()
        async with service(pipeline) as running, connection(running) as (reader, writer):
            writer.write(head(PROCESS, LARGE_BYTES))
            status = await asyncio.wait_for(reader.readline(), BOUND_S)
        assert status.split()[1] == b"413"
        assert pipeline.requests == []

    @pytest.mark.parametrize("chunked", [False, True])
    async def test_25_mb_sent_to_the_end_still_gets_the_answer(self, *, chunked: bool):
        pipeline = ScriptedPipeline()
        audio = json.loads(request().audio.model_dump_json())
        content = body(audio={**audio, "data_base64": base64.b64encode(bytes(LARGE_BYTES * 3 // 4)).decode()})

        async def blocks() -> AsyncIterator[bytes]:
            for start in range(0, len(content), 1 << 20):
                yield content[start : start + (1 << 20)]

        async with service(pipeline) as running, raw(running) as http:
            answered = await http.post(PROCESS, content=blocks() if chunked else content)
            assert "Send a shorter fragment" in refused_with(answered, 413, ErrorCode.INVALID_INPUT)
            assert answered.headers["connection"] == "close"
            assert (await http.post(PROCESS, content=body())).status_code == 200
        assert len(pipeline.requests) == 1

    async def test_the_longest_fragment_fits(self):
        audio = {
            "format": "pcm_s16le",
            "sample_rate_hz": 48_000,
            "channels": 2,
            "duration_ms": 30_000,
            "data_base64": base64.b64encode(bytes(30 * 48_000 * 4)).decode(),
        }
        async with service(ScriptedPipeline()) as running, raw(running) as http:
            assert (await http.post(PROCESS, content=body(audio=audio))).status_code == 200

    async def test_compressed_bodies_are_refused(self):
        async with service(ScriptedPipeline()) as running, raw(running) as http:
            answered = await http.post(PROCESS, content=b"x", headers={"content-encoding": "gzip"})
        refused_with(answered, 415, ErrorCode.INVALID_INPUT)

    async def test_a_refused_body_is_not_asked_for(self):
        async with (
            service(ScriptedPipeline(), api_keys=["k" * 20]) as running,
            connection(running) as (reader, writer),
        ):
            writer.write(head(PROCESS, 2_000_000, expect="100-continue"))
            status = await asyncio.wait_for(reader.readline(), BOUND_S)
        assert status.split()[1] == b"401"


class TestSlowCallers:
    @pytest.mark.parametrize("sent", [b"", b"POST /api", head(PROCESS, 10)[:-2]])
    async def test_a_head_that_dawdles_is_given_up(self, sent: bytes):
        async with (
            service(ScriptedPipeline(), connection=Impatient) as running,
            connection(running) as (reader, writer),
        ):
            writer.write(sent)
            assert await ended(reader) == b""

    async def test_a_second_head_that_dawdles_is_given_up(self):
        async with (
            service(ScriptedPipeline(), connection=Impatient) as running,
            connection(running) as (reader, writer),
        ):
            writer.write(whole(PROCESS, body()) + b"POST /api")
            assert (await answer(reader))[0] == 200
            assert await ended(reader) == b""

    async def test_a_body_that_goes_on_behind_its_answer_is_given_up(self):
        async with (
            service(ScriptedPipeline(), connection=Impatient) as running,
            connection(running) as (reader, writer),
        ):
            writer.write(b"GET /ping HTTP/1.1\r\nhost: sts\r\ncontent-length: 1000\r\n\r\n.")
            assert (await answer(reader))[0] == 200
            writer.write(b".")
            assert await ended(reader) == b""

    async def test_a_body_that_dawdles_is_given_up(self):
        async with (
            service(ScriptedPipeline(), limits=BodyLimits(timeout_s=0.1)) as running,
            connection(running) as (reader, writer),
        ):
            writer.write(head(PROCESS, 1_000) + b"{")
            status = await asyncio.wait_for(reader.readline(), BOUND_S)
        assert status.split()[1] == b"408"

    async def test_work_may_take_longer_than_a_head(self):
        pipeline = ScriptedPipeline()
        pipeline.gate.clear()
        async with (
            service(pipeline, connection=Impatient) as running,
            connection(running) as (reader, writer),
        ):
            writer.write(whole(PROCESS, body()))
            await asyncio.wait_for(pipeline.started.wait(), BOUND_S)
            # Another caller waits for as long as a head may take: so has this one then.
            async with connection(running) as (other, _):
                assert await ended(other) == b""
            pipeline.gate.set()
            assert (await answer(reader))[0] == 200

    @pytest.mark.parametrize("path", [PROCESS, STREAM])
    async def test_an_answer_that_nobody_reads_is_given_up(self, path: str):
        pipeline = ScriptedPipeline()
        long = Dub(language="en", translated_text="x" * LARGE_BYTES)
        pipeline.answer = lambda asked: answer_for(asked).model_copy(update={"dubs": (long,)})
        dropped = asyncio.Event()

        class Watched(Impatient):
            def _drop(self, reason: str) -> None:
                super()._drop(reason)
                dropped.set()

        async with (
            service(pipeline, connection=Watched) as running,
            connection(running) as (reader, writer),
        ):
            writer.transport.pause_reading()  # pyright: ignore[reportAttributeAccessIssue]
            writer.write(whole(path, body()))
            await asyncio.wait_for(dropped.wait(), BOUND_S)
            writer.transport.resume_reading()  # pyright: ignore[reportAttributeAccessIssue]
            assert len(await ended(reader)) < LARGE_BYTES
            await running.metrics.reach(waiting=0, running=0)


class TestOddCallers:
    async def test_pipelined_requests_are_answered_in_order(self):
        pipeline = ScriptedPipeline()
        contents = [body(fragment_id=f"stadium/3/{number}", sequence_number=number) for number in range(3)]
        async with service(pipeline) as running, connection(running) as (reader, writer):
            writer.write(b"".join(whole(PROCESS, content) for content in contents))
            answers = [await answer(reader) for _ in contents]
        ids = [json.loads(content)["fragment_id"] for _, content in answers]
        assert ids == ["stadium/3/0", "stadium/3/1", "stadium/3/2"]
        assert pipeline.most_running == 1

    async def test_hanging_up_behind_pipelined_requests_leaves_nothing(self):
        pipeline = ScriptedPipeline()
        pipeline.gate.clear()
        async with service(pipeline) as running:
            async with connection(running) as (_, writer):
                writer.write(whole(PROCESS, body()) * 2)
                await asyncio.wait_for(pipeline.started.wait(), BOUND_S)
            await asyncio.wait_for(pipeline.cancelled.wait(), BOUND_S)
            await running.metrics.reach(waiting=0, running=0)

    async def test_hanging_up_between_the_lines_frees_the_slot(self):
        pipeline = ScriptedPipeline()
        pipeline.gate.clear()
        async with service(pipeline, max_concurrency=1, queue_size=0) as running:
            async with connection(running) as (reader, writer):
                writer.write(whole(STREAM, body()))
                await asyncio.wait_for(reader.readuntil(b'"kind":"text"'), BOUND_S)
            await asyncio.wait_for(pipeline.cancelled.wait(), BOUND_S)
            await running.metrics.reach(waiting=0, running=0)
            pipeline.gate.set()
            async with raw(running) as http:
                assert (await http.post(PROCESS, content=body())).status_code == 200

    @pytest.mark.parametrize(
        "sent",
        [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"POST /api/v1/sts/process HTTP/1.1\r\nhost: sts\r\ncontent-length: -1\r\n\r\n",
            b"POST /api/v1/sts/process HTTP/1.1\r\nhost: sts\r\ncontent-length: 5_0\r\n\r\n",
            b"POST /api/v1/sts/process HTTP/1.1\r\nhost: sts\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        ],
        ids=["TLS", "negative length", "length with a dash", "no chunk"],
    )
    async def test_no_http_is_answered_400_and_closed(self, sent: bytes):
        pipeline = ScriptedPipeline()
        async with service(pipeline) as running, connection(running) as (reader, writer):
            writer.write(sent)
            said = await ended(reader)
        assert b" 400 " in said.split(b"\r\n", 1)[0]
        assert pipeline.requests == []

    async def test_an_endless_head_is_cut_off(self):
        async with service(ScriptedPipeline()) as running, connection(running) as (reader, writer):
            writer.write(b"GET /ping HTTP/1.1\r\nx: " + b"a" * 200_000)
            said = await ended(reader)
        assert said.split(b"\r\n", 1)[0] in {b"", b"HTTP/1.1 400 Bad Request"}  # the reset may overtake it


class TestKeys:
    async def test_each_of_several_opens_and_no_other(self):
        keys = ["the key that goes", "the key that comes"]
        async with service(ScriptedPipeline(), api_keys=keys) as running, raw(running) as http:
            statuses = [
                (
                    await http.post(PROCESS, content=body(), headers={"authorization": f"Bearer {key}"})
                ).status_code
                for key in [*keys, ",".join(keys), "another"]
            ]
        assert statuses == [200, 200, 401, 401]
