"""Bad input is refused with a typed error that names field, problem and remedy, and nothing is computed for it.

Over HTTP, in a RunPod job, and (what a schema does not tell) through RunPod's queue to a worker in its own process.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from gpu_handler.dispatcher import Dispatcher
from gpu_handler.job_handler import JobHandler
from gpu_handler.service_metrics import ServiceMetrics
from livedub.sts.contract import ErrorCode, Stage, Status, StsResult
from tests.contract.bad_input import BadInput, beyond_the_schema, cases, good_document
from tests.contract.counting import counting_pipeline
from tests.contract.runpod_rig import RunpodRig, runpod_endpoint  # noqa: F401 - a fixture
from tests.contract.sts_rig import BOUND_S, Clock, service

PROCESS = "/api/v1/sts/process"
STREAM = "/api/v1/sts/stream"
KEY = "correct-horse-battery"
LONGEST_MESSAGE = 700
STATUSES = {
    ErrorCode.INVALID_INPUT: 400,
    ErrorCode.DURATION_MISMATCH: 400,
    ErrorCode.UNSUPPORTED_LANGUAGE: 400,
    ErrorCode.AUTH_FAILED: 401,
    ErrorCode.TIMEOUT: 504,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A running service and what its engines have done."""

    http: httpx.AsyncClient
    calls: Counter[str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def entry() -> AsyncIterator[Entry]:
    calls: Counter[str] = Counter()
    async with (
        service(counting_pipeline(calls), api_keys=[KEY], max_concurrency=4, queue_size=16) as running,
        httpx.AsyncClient(
            base_url=running.url,
            headers={"authorization": f"Bearer {KEY}"},
            timeout=BOUND_S,
            trust_env=False,
        ) as http,
    ):
        calls.clear()  # what warming up did
        yield Entry(http, calls)


def refused(answer: httpx.Response, code: ErrorCode, stage: Stage = Stage.INPUT) -> StsResult:
    """The answer, which must be a bare refusal with the status of its code."""
    assert answer.status_code == STATUSES[code]
    return bare_refusal(StsResult.model_validate_json(answer.content, strict=True), code, stage)


def bare_refusal(result: StsResult, code: ErrorCode, stage: Stage = Stage.INPUT) -> StsResult:
    assert result.error is not None, result
    assert (result.status, result.error.code, result.error.stage) == (Status.ERROR, code, stage)
    assert (result.transcript, result.dubs) == (None, ())
    return result


def explains(message: str, says: str) -> None:
    """Field, problem and remedy, in a line that can be read."""
    assert re.search(says, message), message
    assert re.search(r"[.:;] [A-Z][a-z]+\b.*\.( \(\d+ more problems?\))?$", message, re.DOTALL), message
    assert len(message) < LONGEST_MESSAGE


def keeps_to_itself(message: str, document: Any) -> None:
    assert KEY not in message
    audio = document.get("audio") if isinstance(document, dict) else None
    data = audio.get("data_base64") if isinstance(audio, dict) else None
    if isinstance(data, str) and len(data) > 40:
        assert data[:40] not in message


@pytest.mark.asyncio(loop_scope="module")
class TestHttp:
    async def test_the_good_request_is_worked_on(self, entry: Entry):
        answer = await entry.http.post(PROCESS, json=good_document())
        assert StsResult.model_validate_json(answer.content).status is Status.SUCCESS, answer.text
        assert {"spans", "transcribe", "translate", "synthesize"} <= entry.calls.keys()
        entry.calls.clear()

    @pytest.mark.parametrize("path", [PROCESS, STREAM])
    @pytest.mark.parametrize("bad", cases(), ids=lambda bad: bad.name)
    async def test_bad_input(self, entry: Entry, bad: BadInput, path: str):
        entry.calls.clear()
        answer = await entry.http.post(path, content=bad.body())
        if path == STREAM and bad.needs_work:  # its status has gone out before the pipeline could tell
            assert answer.status_code == 200
            result = bare_refusal(StsResult.model_validate_json(answer.content, strict=True), bad.code)
        else:
            result = refused(answer, bad.code)
        assert result.error is not None
        assert not result.error.retryable
        explains(message(result), bad.says)
        keeps_to_itself(message(result), bad.document())
        assert entry.calls == {}

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe", b"[" * 50_000, b'{"audio": NaN}', b"{}" * 2]
    )
    async def test_no_json_object(self, entry: Entry, body: bytes):
        result = refused(await entry.http.post(PROCESS, content=body), ErrorCode.INVALID_INPUT)
        assert result.fragment_id == ""
        assert "Send" in message(result)
        assert entry.calls == {}

    async def test_names_the_first_problem_and_counts_the_rest(self, entry: Entry):
        body = {**good_document(), "audio": {"format": "mp3"}}
        result = refused(await entry.http.post(PROCESS, json=body), ErrorCode.INVALID_INPUT)
        assert message(result).startswith("audio.format: ")
        assert message(result).endswith("(4 more problems)")

    async def test_the_fragment_is_named_where_the_body_still_tells_it(self, entry: Entry):
        body = {**good_document(), "deadline_ms": 0}
        broken = await entry.http.post(PROCESS, json=body)
        assert refused(broken, ErrorCode.INVALID_INPUT).fragment_id == "stadium/3/7"
        foreign = await entry.http.post(PROCESS, json={**body, "fragment_id": "<script>"})
        assert refused(foreign, ErrorCode.INVALID_INPUT).fragment_id == ""

    @pytest.mark.parametrize("key", ["", "Bearer", "Bearer wrong", f"bearer {KEY}", f"Basic {KEY}"])
    async def test_a_wrong_token(self, entry: Entry, key: str):
        entry.calls.clear()
        answer = await entry.http.post(PROCESS, json=good_document(), headers={"authorization": key})
        result = refused(answer, ErrorCode.AUTH_FAILED)
        explains(message(result), "Authorization")
        keeps_to_itself(message(result), good_document())
        assert entry.calls == {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def jobs() -> AsyncIterator[tuple[JobHandler, Counter[str]]]:
    calls: Counter[str] = Counter()
    dispatcher = Dispatcher(
        counting_pipeline(calls), max_concurrency=4, queue_size=16, metrics=ServiceMetrics()
    )
    await dispatcher.load()
    calls.clear()  # what warming up did
    yield JobHandler(dispatcher, replace_worker=pytest.fail), calls
    await dispatcher.close()


@pytest.mark.asyncio(loop_scope="module")
class TestRunpodJob:
    async def test_the_good_job_is_worked_on(self, jobs: tuple[JobHandler, Counter[str]]):
        handler, calls = jobs
        elements = [element async for element in handler.handle({"id": "a", "input": good_document()})]
        assert elements[-1]["status"] == "success"
        assert {"spans", "transcribe", "translate", "synthesize"} <= calls.keys()

    @pytest.mark.parametrize("bad", cases(), ids=lambda bad: bad.name)
    async def test_bad_input(self, jobs: tuple[JobHandler, Counter[str]], bad: BadInput):
        handler, calls = jobs
        calls.clear()
        (element,) = [element async for element in handler.handle({"id": "a", "input": bad.document()})]
        result = bare_refusal(StsResult.model_validate_json(json.dumps(element["result"])), bad.code)
        assert element["status"] == "error"
        explains(message(result), bad.says)
        keeps_to_itself(message(result), bad.document())
        assert calls == {}

    @pytest.mark.parametrize("job", [{}, {"id": "a"}, {"id": "a", "input": None}, {"id": "a", "input": "x"}])
    async def test_no_input(self, jobs: tuple[JobHandler, Counter[str]], job: dict[str, Any]):
        (element,) = [element async for element in jobs[0].handle(job)]
        result = bare_refusal(
            StsResult.model_validate_json(json.dumps(element["result"])), ErrorCode.INVALID_INPUT
        )
        assert "Send" in message(result)


class TestRunpodQueue:
    @pytest.mark.parametrize("bad", beyond_the_schema(), ids=lambda bad: bad.name)
    def test_bad_input(self, runpod_endpoint: RunpodRig, bad: BadInput):  # noqa: F811 - the fixture
        answer = httpx.post(
            f"{runpod_endpoint.url}/{runpod_endpoint.endpoint_id}/runsync",
            json={"input": bad.document()},
            headers={"authorization": f"Bearer {runpod_endpoint.key}"},
            timeout=BOUND_S,
            trust_env=False,
        )
        job = answer.json()
        assert job["status"] == "COMPLETED", job  # else RunPod would try again
        (element,) = job["output"]
        result = bare_refusal(StsResult.model_validate_json(json.dumps(element["result"])), bad.code)
        explains(message(result), bad.says)
        keeps_to_itself(message(result), bad.document())

    def test_a_wrong_token(self, runpod_endpoint: RunpodRig):  # noqa: F811 - the fixture
        answer = httpx.post(
            f"{runpod_endpoint.url}/{runpod_endpoint.endpoint_id}/runsync",
            json={"input": good_document()},
            headers={"authorization": "Bearer wrong"},
            timeout=BOUND_S,
            trust_env=False,
        )
        assert answer.status_code == 401
        assert runpod_endpoint.key not in answer.text


async def test_an_expired_deadline():
    calls: Counter[str] = Counter()
    async with (
        service(counting_pipeline(calls), clock_ns=Clock(per_call_ns=600_000_000)) as running,
        httpx.AsyncClient(base_url=running.url, timeout=BOUND_S, trust_env=False) as http,
    ):
        calls.clear()
        answer = await http.post(PROCESS, json={**good_document(), "deadline_ms": 500})
    result = refused(answer, ErrorCode.TIMEOUT, Stage.QUEUE)
    assert "deadline_ms" in message(result)
    assert calls == {}


def message(result: StsResult) -> str:
    assert result.error is not None
    return result.error.message
