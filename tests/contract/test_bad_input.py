"""Bad input is refused with a typed error that names field, problem and remedy, and nothing is computed for it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
import pytest_asyncio

from gpu_handler.engines.registry import build_engines
from gpu_handler.pipeline import Pipeline
from gpu_handler.settings import StsSettings
from livedub.sts.contract import ErrorCode, Stage, Status, StsResult
from tests.contract.bad_input import BadInput, cases, good_document
from tests.contract.sts_rig import BOUND_S, Clock, service

PROCESS = "/api/v1/sts/process"
STREAM = "/api/v1/sts/stream"
KEY = "correct-horse-battery"
LONGEST_MESSAGE = 700
WORK = ("spans", "transcribe", "translate", "synthesize", "natural_duration_ms")
STATUSES = {
    ErrorCode.INVALID_INPUT: 400,
    ErrorCode.DURATION_MISMATCH: 400,
    ErrorCode.UNSUPPORTED_LANGUAGE: 400,
    ErrorCode.AUTH_FAILED: 401,
    ErrorCode.TIMEOUT: 504,
}


class CountingEngine:
    """An engine that counts the calls which are work."""

    def __init__(self, engine: Any, calls: Counter[str]) -> None:
        self._engine = engine
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        if name in WORK:
            self._calls[name] += 1
        return getattr(self._engine, name)


def counting_pipeline(calls: Counter[str]) -> Pipeline:
    """The real pipeline around mock engines that count."""
    engines = build_engines(StsSettings(profile="mock"))
    names = ("detector", "transcriber", "translator", "synthesizer")
    return Pipeline(
        replace(engines, **{name: CountingEngine(getattr(engines, name), calls) for name in names})
    )


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
    """The answer, which must be a bare refusal."""
    result = StsResult.model_validate_json(answer.content, strict=True)
    assert answer.status_code == STATUSES[code]
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
        if path == STREAM and bad.needs_work:
            pytest.skip("its status has gone out before the audio is decoded")
        entry.calls.clear()
        body = bad.body()
        answer = await entry.http.post(path, content=body)
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
