"""RunPod jobs through the dispatcher, without RunPod's SDK."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gpu_handler.dispatcher import Dispatcher
from gpu_handler.job_handler import JobHandler, refuse_all
from gpu_handler.service_metrics import ServiceMetrics
from livedub.sts.contract import (
    ErrorCode,
    PartialKind,
    Stage,
    Status,
    StsError,
    StsPartial,
    StsRequest,
    StsResult,
)
from tests.contract.sts_rig import BOUND_S, ScriptedPipeline, answer_for
from tests.unit.livedub.sts.exchanges import request

Elements = list[dict[str, Any]]


class Desk:
    """A handler around a scripted pipeline, and what it asked for."""

    def __init__(self) -> None:
        self.pipeline = ScriptedPipeline()
        self.replaced: list[str] = []
        self.dispatcher = Dispatcher(self.pipeline, max_concurrency=2, queue_size=1, metrics=ServiceMetrics())
        self.handler = JobHandler(self.dispatcher, replace_worker=self.replaced.append)

    def outcomes(self) -> str:
        return self.dispatcher.metrics.exposition().decode()


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    await made.dispatcher.load()
    yield made
    made.pipeline.gate.set()
    await made.dispatcher.close()


def job(job_id: str = "job-1", **changes: Any) -> dict[str, Any]:
    document = json.loads(request().model_dump_json())
    return {"id": job_id, "input": {**document, **changes}, "webhook": None}


async def elements(desk: Desk, work: Any) -> Elements:
    async def collect() -> Elements:
        return [element async for element in desk.handler.handle(work)]

    return await asyncio.wait_for(collect(), BOUND_S)


def result_of(found: Elements) -> StsResult:
    result = StsResult.model_validate_json(json.dumps(found[-1]["result"]), strict=True)
    assert found[-1]["status"] == result.status.value
    return result


async def test_partials_come_first_and_the_wrapped_result_last(desk: Desk):
    found = await elements(desk, job())
    partials = [StsPartial.model_validate_json(json.dumps(element)) for element in found[:-1]]
    assert [partial.kind for partial in partials] == [PartialKind.TEXT, PartialKind.AUDIO]
    assert result_of(found) == answer_for(desk.pipeline.requests[0])
    assert all("error" not in element for element in found)  # the SDK would fail the job


async def test_a_job_whose_caller_waits_for_the_whole_yields_no_partials(desk: Desk):
    found = await elements(desk, job("sync-1-u1"))
    assert len(found) == 1
    assert result_of(found).status is Status.SUCCESS


async def test_a_text_partial_does_not_wait_for_the_audio(desk: Desk):
    desk.pipeline.gate.clear()
    stream = desk.handler.handle(job())
    first = await asyncio.wait_for(anext(stream), BOUND_S)
    assert first["kind"] == "text"
    desk.pipeline.gate.set()
    assert [element.get("kind", "last") async for element in stream] == ["audio", "last"]


@pytest.mark.parametrize(
    "work",
    [
        {"id": "a", "input": "not an object"},
        {"id": "a", "input": None},
        {"id": "a"},
        job(deadline_ms=0),
        job(fragment_id="other/1/2"),
        job(surprise=1),
    ],
)
async def test_bad_input_is_a_typed_result_and_costs_nothing(desk: Desk, work: dict[str, Any]):
    result = result_of(await elements(desk, work))
    assert result.error is not None
    assert result.error.code is ErrorCode.INVALID_INPUT
    assert desk.pipeline.requests == []
    assert 'outcome="INVALID_INPUT"} 1.0' in desk.outcomes()


async def test_an_unknown_pair_is_refused_by_name(desk: Desk):
    work = job()
    work["input"]["config"] = {**work["input"]["config"], "source_language": "ja"}
    result = result_of(await elements(desk, work))
    assert result.error is not None
    assert result.error.code is ErrorCode.UNSUPPORTED_LANGUAGE
    assert result.fragment_id == work["input"]["fragment_id"]
    assert desk.pipeline.requests == []


async def test_the_deadline_counts_from_when_the_job_was_taken(desk: Desk):
    desk.pipeline.gate.clear()
    result = result_of(await elements(desk, job("sync-1", deadline_ms=50)))
    assert result.error is not None
    assert result.error.code is ErrorCode.TIMEOUT


async def test_jobs_over_the_queue_are_refused(desk: Desk):
    desk.pipeline.gate.clear()
    held = [asyncio.create_task(elements(desk, job(f"sync-{n}"))) for n in range(3)]
    await asyncio.wait_for(desk.pipeline.started.wait(), BOUND_S)
    result = result_of(await elements(desk, job("sync-9")))
    assert result.error is not None
    assert result.error.code is ErrorCode.QUEUE_FULL
    desk.pipeline.gate.set()
    assert [result_of(await task).status for task in held] == [Status.SUCCESS] * 3


async def test_a_stopped_job_stops_its_work_and_frees_its_slot(desk: Desk):
    desk.pipeline.gate.clear()
    task = asyncio.create_task(elements(desk, job("sync-1")))
    await asyncio.wait_for(desk.pipeline.started.wait(), BOUND_S)
    task.cancel()
    await asyncio.wait_for(desk.pipeline.cancelled.wait(), BOUND_S)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert desk.pipeline.running == 0
    assert 'outcome="cancelled"} 1.0' in desk.outcomes()


async def test_whoever_stops_reading_stops_the_work(desk: Desk):
    desk.pipeline.gate.clear()
    stream = desk.handler.handle(job())
    await asyncio.wait_for(anext(stream), BOUND_S)
    await stream.aclose()  # pyright: ignore[reportAttributeAccessIssue] - an async generator
    await asyncio.wait_for(desk.pipeline.cancelled.wait(), BOUND_S)


async def test_a_partial_over_runpods_limit_is_left_to_the_result(desk: Desk):
    def large(asked: StsRequest) -> StsResult:
        result = answer_for(asked)
        dub = result.dubs[0]
        assert dub.audio is not None
        audio = dub.audio.model_copy(update={"data_base64": "A" * 1_000_000})
        return result.model_copy(update={"dubs": (dub.model_copy(update={"audio": audio}),)})

    desk.pipeline.answer = large
    found = await elements(desk, job())
    assert [element.get("kind", "last") for element in found] == ["text", "last"]
    assert len(found[-1]["result"]["dubs"][0]["audio"]["data_base64"]) == 1_000_000


def failing(message: str, code: ErrorCode = ErrorCode.MODEL_ERROR) -> Any:
    def answer(asked: StsRequest) -> StsResult:
        error = StsError(stage=Stage.ASR, code=code, message=message, retryable=True)
        return StsResult(fragment_id=asked.fragment_id, status=Status.ERROR, error=error)

    return answer


async def test_a_broken_cuda_context_asks_for_a_new_worker_and_still_answers(desk: Desk):
    desk.pipeline.answer = failing("RuntimeError: CUDA error: device-side assert triggered")
    result = result_of(await elements(desk, job("sync-1")))
    assert result.error is not None
    assert result.error.retryable
    assert desk.replaced == [result.error.message]


async def test_an_engine_that_runs_out_of_memory_asks_for_none(desk: Desk):
    desk.pipeline.answer = failing("OutOfMemoryError: CUDA out of memory.", ErrorCode.GPU_OOM)
    assert result_of(await elements(desk, job("sync-1"))).status is Status.ERROR
    assert desk.replaced == []


async def test_a_bug_is_a_typed_result_too(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    async def broken(*_: object, **__: object) -> StsResult:
        raise ZeroDivisionError

    monkeypatch.setattr(desk.dispatcher, "run", broken)
    result = result_of(await elements(desk, job()))
    assert result.error is not None
    assert (result.error.code, result.error.retryable) == (ErrorCode.MODEL_ERROR, True)
    assert "ZeroDivisionError" in result.error.message


async def test_a_worker_whose_engines_are_not_ready_any_more_asks_to_be_replaced():
    desk = Desk()
    result = result_of(await elements(desk, job()))
    assert result.error is not None
    assert (result.error.code, result.error.retryable) == (ErrorCode.MODEL_ERROR, True)
    assert result.fragment_id == job()["input"]["fragment_id"]
    assert desk.replaced == [desk.dispatcher.health.detail]
    await desk.dispatcher.close()


@pytest.mark.parametrize(
    "work", [job(), {"id": "a", "input": {"fragment_id": "s/1/2"}}, {"id": "a", "input": 3}]
)
async def test_a_worker_that_cannot_work_tells_every_job_why(work: dict[str, Any]):
    found = [element async for element in refuse_all("whisper-base is missing")(work)]
    result = result_of(found)
    assert result.error is not None
    assert (result.error.code, result.error.retryable) == (ErrorCode.MODEL_ERROR, False)
    assert "whisper-base is missing" in result.error.message
