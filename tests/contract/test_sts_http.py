"""The STS service as its callers meet it: over a real connection, with the client that the product uses."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from gpu_handler.pipeline import Pipeline
from gpu_handler.settings import StsSettings
from livedub.errors import MissingPrerequisiteError
from livedub.sts.contract import (
    AudioFormat,
    ErrorCode,
    Health,
    PartialKind,
    Stage,
    Status,
    StsConfig,
    StsError,
    StsPartial,
    StsRequest,
    StsResult,
    Target,
)
from livedub.sts.errors import StsBadAnswer, StsFailure, StsRefused, StsTimeout, StsUnavailable
from livedub.sts.http_client import HttpSts
from tests.contract.sts_rig import BOUND_S, Clock, RunningService, ScriptedPipeline, answer_for, service
from tests.unit.livedub.sts.exchanges import request, tone

PROCESS = "/api/v1/sts/process"
STREAM = "/api/v1/sts/stream"
MS = 1_000_000


@contextlib.asynccontextmanager
async def raw(running: RunningService, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=running.url, headers=headers, timeout=BOUND_S, trust_env=False
    ) as http:
        yield http


@contextlib.asynccontextmanager
async def client(running: RunningService, api_key: str = "") -> AsyncIterator[HttpSts]:
    sts = HttpSts(running.url, api_key=api_key)
    try:
        yield sts
    finally:
        await sts.aclose()


def document() -> dict[str, Any]:
    return json.loads(request().model_dump_json())


def changed(path: str, value: object) -> dict[str, Any]:
    """A good request with one field changed; None removes it."""
    body = document()
    *parents, last = path.split(".")
    node: Any = body
    for parent in parents:
        node = node[int(parent)] if parent.isdigit() else node[parent]
    key = int(last) if last.isdigit() else last
    if value is None:
        del node[key]
    else:
        node[key] = value
    return body


def refusal(answer: httpx.Response, status: int, code: ErrorCode) -> StsResult:
    result = StsResult.model_validate_json(answer.content, strict=True)
    assert answer.status_code == status
    assert result.status is Status.ERROR
    assert result.error is not None
    assert result.error.code is code
    return result


def message(result: StsResult) -> str:
    assert result.error is not None
    return result.error.message


class TestProcess:
    async def test_a_fragment_comes_back_dubbed(self):
        pipeline = ScriptedPipeline()
        asked = request(targets=("en", "fr"))
        async with service(pipeline) as running, client(running) as sts:
            result = await sts.process(asked)
        assert result == answer_for(asked)
        assert pipeline.requests[0].model_copy(update={"deadline_ms": asked.deadline_ms}) == asked

    async def test_the_deadline_counts_from_receipt(self):
        pipeline = ScriptedPipeline()
        before_s = time.monotonic()
        async with service(pipeline) as running, client(running) as sts:
            await sts.process(request())
        (received_s,) = pipeline.received_s
        assert received_s is not None
        assert before_s <= received_s <= time.monotonic()

    @pytest.mark.parametrize("audio_format", AudioFormat)
    async def test_the_real_pipeline_with_mock_engines_keeps_the_contract(self, audio_format: AudioFormat):
        pipeline = Pipeline.from_settings(StsSettings(profile="mock"))
        try:
            async with service(pipeline) as running, client(running) as sts:
                health = await sts.health()
                source, targets = next(iter(health.languages.items()))
                asked = request(duration_ms=2_000).model_copy(
                    update={
                        "audio": tone(2_000, audio_format=audio_format),
                        "config": StsConfig(source_language=source, targets=(Target(language=targets[0]),)),
                    }
                )
                result = await sts.process(asked)
        finally:
            pipeline.close()
        assert result.status is Status.SUCCESS
        assert result.dubs[0].audio is not None
        assert result.dubs[0].audio.duration_ms == pytest.approx(2_000, abs=20)

    @pytest.mark.parametrize(
        ("script", "kind"),
        [
            ("*:garbage", StsBadAnswer),
            ("*:nan", StsBadAnswer),
            ("*:wrong_length", StsBadAnswer),
            ("*:error", StsRefused),
            ("*:stall:60000", StsTimeout),
        ],
    )
    async def test_scripted_faults_reach_the_caller_typed(self, script: str, kind: type[StsFailure]):
        pipeline = Pipeline.from_settings(StsSettings(profile="mock", mock_script=script))
        try:
            async with service(pipeline) as running, client(running) as sts:
                with pytest.raises(kind) as caught:
                    await sts.process(request(duration_ms=2_000, deadline_ms=800))
        finally:
            pipeline.close()
        assert caught.value.retryable  # so each counts for the breaker

    async def test_a_fragment_without_speech_is_a_success_without_audio(self):
        pipeline = Pipeline.from_settings(StsSettings(profile="mock", mock_script="*:empty"))
        try:
            async with service(pipeline) as running, client(running) as sts:
                result = await sts.process(request())
        finally:
            pipeline.close()
        assert result.status is Status.SUCCESS
        assert [(dub.translated_text, dub.audio) for dub in result.dubs] == [("", None)]

    async def test_no_more_than_the_limit_run_at_once_and_all_are_served(self):
        pipeline = ScriptedPipeline()
        pipeline.gate.clear()
        async with service(pipeline, max_concurrency=2, queue_size=6) as running, client(running) as sts:
            calls = [asyncio.create_task(sts.process(request(sequence_number=n))) for n in range(8)]
            await running.metrics.reach(waiting=6, running=2)
            pipeline.gate.set()
            results = await asyncio.wait_for(asyncio.gather(*calls), BOUND_S)
        assert pipeline.most_running == 2
        assert [result.fragment_id for result in results] == [f"stadium/3/{n}" for n in range(8)]

    async def test_a_bug_in_the_pipeline_costs_one_fragment_and_tells_nothing_inside(self):
        pipeline = ScriptedPipeline()
        async with service(pipeline) as running, raw(running) as http:
            pipeline.failure = RuntimeError("secret detail")
            answer = await http.post(PROCESS, json=document())
            result = refusal(answer, 500, ErrorCode.MODEL_ERROR)
            assert "RuntimeError" in message(result)
            assert b"secret detail" not in answer.content
            pipeline.failure = None
            assert (await http.post(PROCESS, json=document())).status_code == 200

    @pytest.mark.parametrize(
        ("code", "status"),
        [
            (ErrorCode.INVALID_INPUT, 400),
            (ErrorCode.DURATION_MISMATCH, 400),
            (ErrorCode.UNSUPPORTED_LANGUAGE, 400),
            (ErrorCode.TIMEOUT, 504),
            (ErrorCode.MODEL_ERROR, 500),
            (ErrorCode.GPU_OOM, 500),
        ],
    )
    async def test_the_status_code_repeats_the_pipeline_s_error(self, code: ErrorCode, status: int):
        pipeline = ScriptedPipeline()
        error = StsError(stage=Stage.ASR, code=code, message="because", retryable=False)
        pipeline.answer = lambda asked: StsResult(
            fragment_id=asked.fragment_id, status=Status.ERROR, error=error
        )
        async with service(pipeline) as running, raw(running) as http:
            refusal(await http.post(PROCESS, json=document()), status, code)


class TestDeadline:
    async def test_an_expired_one_costs_no_work(self):
        pipeline = ScriptedPipeline()
        async with (
            service(pipeline, clock_ns=Clock(per_call_ns=600 * MS)) as running,
            raw(running) as http,
        ):
            answer = await http.post(PROCESS, json={**document(), "deadline_ms": 500})
        result = refusal(answer, 504, ErrorCode.TIMEOUT)
        assert result.error is not None
        assert result.error.stage is Stage.QUEUE
        assert result.error.retryable
        assert pipeline.requests == []

    async def test_one_that_passes_in_the_queue_costs_no_work(self):
        pipeline = ScriptedPipeline()
        pipeline.gate.clear()
        async with service(pipeline, max_concurrency=1) as running, raw(running) as http:
            first = asyncio.create_task(http.post(PROCESS, json={**document(), "deadline_ms": 60_000}))
            await running.metrics.reach(waiting=0, running=1)
            second = await http.post(PROCESS, json={**document(), "deadline_ms": 100})
            result = refusal(second, 504, ErrorCode.TIMEOUT)
            assert result.error is not None
            assert result.error.stage is Stage.QUEUE
            pipeline.gate.set()
            await asyncio.wait_for(first, BOUND_S)
        assert len(pipeline.requests) == 1

    async def test_one_that_passes_during_work_cancels_it_and_names_the_stage(self):
        pipeline = ScriptedPipeline()
        pipeline.gate.clear()
        async with service(pipeline) as running, raw(running) as http:
            answer = await http.post(PROCESS, json={**document(), "deadline_ms": 100})
            result = refusal(answer, 504, ErrorCode.TIMEOUT)
            assert result.error is not None
            assert result.error.stage is Stage.TTS  # the texts had been sent
            await asyncio.wait_for(pipeline.cancelled.wait(), BOUND_S)


class TestQueue:
    async def test_one_more_than_fits_is_refused_at_once_and_later_served(self):
        pipeline = ScriptedPipeline()
        pipeline.gate.clear()
        async with (
            service(pipeline, max_concurrency=1, queue_size=1) as running,
            client(running) as sts,
            raw(running) as http,
        ):
            calls = [
                asyncio.create_task(sts.process(request(sequence_number=n, deadline_ms=60_000)))
                for n in range(2)
            ]
            await running.metrics.reach(waiting=1, running=1)
            answer = await http.post(PROCESS, json=document())
            result = refusal(answer, 429, ErrorCode.QUEUE_FULL)
            assert result.error is not None
            assert result.error.retryable
            assert answer.headers["retry-after"] == "1"
            pipeline.gate.set()
            await asyncio.wait_for(asyncio.gather(*calls), BOUND_S)
            assert (await http.post(PROCESS, json=document())).status_code == 200

    async def test_a_burst_never_passes_the_limit(self):
        pipeline = ScriptedPipeline()
        pipeline.gate.clear()
        async with service(pipeline, max_concurrency=1, queue_size=2) as running, raw(running) as http:
            calls = [asyncio.create_task(http.post(PROCESS, json=document())) for _ in range(10)]
            in_order = asyncio.as_completed(calls, timeout=BOUND_S)
            for _ in range(7):
                assert (await next(in_order)).status_code == 429
            pipeline.gate.set()
            answers = await asyncio.wait_for(asyncio.gather(*calls), BOUND_S)
        assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 7
        assert len(pipeline.requests) == 3


class TestHangingUp:
    @pytest.mark.parametrize("path", [PROCESS, STREAM])
    async def test_a_caller_that_is_gone_cancels_its_work(self, path: str):
        pipeline = ScriptedPipeline()
        pipeline.gate.clear()
        body = json.dumps({**document(), "deadline_ms": 120_000}).encode()
        async with service(pipeline) as running:
            _, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(head(path, len(body)) + body)
            await writer.drain()
            await asyncio.wait_for(pipeline.started.wait(), BOUND_S)
            writer.close()
            await asyncio.wait_for(pipeline.cancelled.wait(), BOUND_S)
            async with raw(running) as http:
                await running.metrics.reach(waiting=0, running=0)
                assert 'outcome="cancelled"} 1.0' in (await http.get("/metrics")).text

    async def test_cancelling_the_client_cancels_the_work(self):
        pipeline = ScriptedPipeline()
        pipeline.gate.clear()
        async with service(pipeline) as running, client(running) as sts:
            call = asyncio.create_task(sts.process(request(deadline_ms=60_000)))
            await asyncio.wait_for(pipeline.started.wait(), BOUND_S)
            call.cancel()
            await asyncio.wait_for(pipeline.cancelled.wait(), BOUND_S)
            with pytest.raises(asyncio.CancelledError):
                await call

    async def test_hanging_up_inside_the_body_leaves_nothing(self):
        pipeline = ScriptedPipeline()
        async with service(pipeline) as running:
            _, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(head(PROCESS, 1_000) + b"{")
            await writer.drain()
            writer.close()
            async with raw(running) as http:
                assert (await http.post(PROCESS, json=document())).status_code == 200
        assert len(pipeline.requests) == 1


def head(path: str, length: int | None, **headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: sts", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append("transfer-encoding: chunked" if length is None else f"content-length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class TestStream:
    async def test_text_then_audio_then_the_result(self):
        asked = request(targets=("en", "fr"))
        async with service(ScriptedPipeline()) as running, raw(running) as http:
            answer = await http.post(STREAM, content=asked.model_dump_json())
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/x-ndjson"
        *partials, last = answer.text.splitlines()
        parsed = [StsPartial.model_validate_json(line, strict=True) for line in partials]
        assert [partial.kind for partial in parsed] == [
            PartialKind.TEXT,
            PartialKind.AUDIO,
            PartialKind.AUDIO,
        ]
        assert all(one.audio is None for one in parsed[0].dubs)
        assert StsResult.model_validate_json(last, strict=True) == answer_for(asked)

    async def test_the_text_arrives_before_the_audio_is_made(self):
        pipeline = ScriptedPipeline()
        pipeline.gate.clear()
        async with (
            service(pipeline) as running,
            raw(running) as http,
            http.stream("POST", STREAM, json={**document(), "deadline_ms": 60_000}) as answer,
        ):
            lines = answer.aiter_lines()
            first = json.loads(await asyncio.wait_for(anext(lines), BOUND_S))
            assert (first["kind"], first["dubs"][0]["audio"]) == ("text", None)
            pipeline.gate.set()
            rest = [json.loads(line) async for line in lines]
        assert rest[-1]["status"] == "success"

    async def test_what_fails_during_work_is_the_last_line(self):
        pipeline = ScriptedPipeline()
        async with service(pipeline) as running, raw(running) as http:
            pipeline.failure = RuntimeError("boom")
            answer = await http.post(STREAM, json=document())
        assert answer.status_code == 200
        (line,) = answer.text.splitlines()
        result = StsResult.model_validate_json(line, strict=True)
        assert result.error is not None
        assert result.error.code is ErrorCode.MODEL_ERROR

    async def test_what_is_refused_before_work_has_its_status(self):
        async with service(ScriptedPipeline()) as running, raw(running) as http:
            answer = await http.post(STREAM, json=changed("audio.format", "mp3"))
        refusal(answer, 400, ErrorCode.INVALID_INPUT)


class TestHealth:
    async def test_ready_only_when_every_model_is_loaded(self):
        pipeline = ScriptedPipeline()
        async with service(pipeline, load=False) as running, raw(running) as http, client(running) as sts:
            answer = await http.get("/health")
            assert answer.status_code == 503
            assert Health.model_validate_json(answer.content).detail == "models are loading"
            assert (await http.get("/ping")).status_code == 204
            refused = await http.post(PROCESS, json=document())
            refusal(refused, 503, ErrorCode.MODEL_ERROR)
            assert refused.headers["retry-after"] == "1"
            with pytest.raises(StsUnavailable, match="models are loading"):
                await sts.process(request(deadline_ms=200))
            await running.dispatcher.load()
            assert (await sts.health()).ready
            assert (await http.get("/health")).status_code == 200
            assert (await http.get("/ping")).status_code == 200
            assert (await http.post(PROCESS, json=document())).status_code == 200

    async def test_says_why_loading_failed(self):
        pipeline = ScriptedPipeline()
        pipeline.failure = MissingPrerequisiteError("model x is missing.", remedy="Run `make setup`.")
        async with service(pipeline, load=False) as running, client(running) as sts:
            with pytest.raises(MissingPrerequisiteError):
                await running.dispatcher.load()
            health = await sts.health()
        assert not health.ready
        assert health.detail == "loading failed: model x is missing. Run `make setup`."

    async def test_closing_refuses_cancels_and_closes_the_pipeline(self):
        pipeline = ScriptedPipeline()
        pipeline.gate.clear()
        async with service(pipeline) as running, raw(running) as http:
            call = asyncio.create_task(http.post(PROCESS, json={**document(), "deadline_ms": 60_000}))
            await asyncio.wait_for(pipeline.started.wait(), BOUND_S)
            await running.dispatcher.close()
            assert "shutting down" in message(
                refusal(await asyncio.wait_for(call, BOUND_S), 500, ErrorCode.MODEL_ERROR)
            )
            assert (await http.get("/health")).json()["detail"] == "shutting down"
        assert pipeline.closed

    async def test_metrics_count_outcomes_and_times(self):
        async with (
            service(ScriptedPipeline(), api_keys=["k" * 20]) as running,
            client(running, "k" * 20) as sts,
        ):
            await sts.process(request())
            async with raw(running) as http:
                await http.post(PROCESS, json=document())
                text = (await http.get("/metrics")).text
        assert 'livedub_sts_requests_total{outcome="success"} 1.0' in text
        assert 'livedub_sts_requests_total{outcome="AUTH_FAILED"} 1.0' in text
        assert "livedub_sts_request_seconds_count 1.0" in text
        assert 'livedub_sts_stage_seconds_count{stage="asr"} 1.0' in text
        assert "livedub_sts_audio_seconds_total 0.1" in text
        assert "livedub_sts_running 0.0" in text
        assert "livedub_sts_ready 1.0" in text


class TestKey:
    KEY = "correct horse battery"

    @pytest.mark.parametrize(
        "header",
        [
            None,
            "",
            "Bearer",
            "Bearer wrong",
            "bearer correct horse battery",
            "Basic eDp5",
            "Bearer ñ".encode(),
        ],
    )
    async def test_without_the_right_one_nothing_is_computed(self, header: str | bytes | None):
        pipeline = ScriptedPipeline()
        headers = {} if header is None else {"authorization": header}
        async with service(pipeline, api_keys=[self.KEY]) as running, raw(running) as http:
            answer = await http.post(PROCESS, json=document(), headers=headers)  # pyright: ignore[reportArgumentType]
            refusal(answer, 401, ErrorCode.AUTH_FAILED)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert self.KEY.encode() not in answer.content
        assert pipeline.requests == []

    async def test_the_client_names_the_setting(self):
        async with (
            service(ScriptedPipeline(), api_keys=[self.KEY]) as running,
            client(running, "wrong") as sts,
        ):
            with pytest.raises(StsRefused, match="STS_API_KEY") as caught:
                await sts.process(request())
        assert caught.value.code is ErrorCode.AUTH_FAILED
        assert not caught.value.retryable

    async def test_with_it_work_is_done_and_probes_need_none(self):
        async with (
            service(ScriptedPipeline(), api_keys=[self.KEY]) as running,
            client(running, self.KEY) as sts,
        ):
            assert (await sts.process(request())).status is Status.SUCCESS
            async with raw(running) as http:
                for path in ("/health", "/ping", "/metrics"):
                    assert (await http.get(path)).status_code == 200


class TestClientAgainstBrokenServices:
    async def test_nobody_listens(self):
        async with service(ScriptedPipeline()) as running:
            port = running.port
        sts = HttpSts(f"http://127.0.0.1:{port}")
        with pytest.raises(StsUnavailable, match="STS_SERVICE_URL"):
            await sts.process(request(deadline_ms=1_000))
        await sts.aclose()

    @pytest.mark.parametrize(
        ("says", "kind"),
        [
            (b"", StsUnavailable),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", StsUnavailable),
            (b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", StsUnavailable),
        ],
    )
    async def test_a_service_that_hangs_up_is_unavailable(self, says: bytes, kind: type[Exception]):
        async with talking(says) as port:
            sts = HttpSts(f"http://127.0.0.1:{port}")
            with pytest.raises(kind):
                await sts.process(request(deadline_ms=1_000))
            await sts.aclose()

    async def test_a_service_that_stalls_costs_no_more_than_the_deadline(self):
        async with talking(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", stay=True) as port:
            sts = HttpSts(f"http://127.0.0.1:{port}")
            started_s = time.perf_counter()
            with pytest.raises(StsTimeout):
                await sts.process(request(deadline_ms=300))
            assert 0.29 < time.perf_counter() - started_s < 2
            await sts.aclose()


@contextlib.asynccontextmanager
async def talking(says: bytes, *, stay: bool = False) -> AsyncIterator[int]:
    """A server that reads a request's head, says something and hangs up, or stays silent."""
    over = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(says)
        if stay:
            await over.wait()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            over.set()


class TestRequestsOfAnotherAge:
    async def test_a_request_with_nothing_optional(self):
        minimal = StsRequest(
            fragment_id="a/0/0",
            stream_id="a",
            generation=0,
            sequence_number=0,
            deadline_ms=5_000,
            audio=tone(50),
            config=StsConfig(source_language="auto", targets=(Target(language="en"),)),
        )
        body = minimal.model_dump(mode="json", exclude_defaults=True)
        assert "schema_version" not in body
        async with service(ScriptedPipeline()) as running, raw(running) as http:
            assert (await http.post(PROCESS, json=body)).status_code == 200
