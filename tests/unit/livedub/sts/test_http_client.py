from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from livedub.sts.contract import ErrorCode, StsRequest, StsResult
from livedub.sts.errors import StsBadAnswer, StsFailure, StsRefused, StsTimeout, StsUnavailable
from livedub.sts.http_client import HttpSts
from tests.unit.livedub.sts.exchanges import failure, request, success

MS = 1_000_000
Answer = httpx.Response | Exception | Callable[[], httpx.Response]


class Clock:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns

    def pass_ms(self, ms: int) -> None:
        self.now_ns += ms * MS


class Service:
    """A scripted service behind httpx's transport interface."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    async def handle(self, http_request: httpx.Request) -> httpx.Response:
        self.requests.append(http_request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer

    def body(self, index: int) -> StsRequest:
        return StsRequest.model_validate_json(self.requests[index].content, strict=True)


def answer(result: StsResult, status_code: int = 200, **headers: str) -> httpx.Response:
    return httpx.Response(status_code, content=result.model_dump_json(), headers=headers)


def client(service: Service, clock: Clock | None = None, api_key: str = "") -> HttpSts:
    transport = httpx.MockTransport(service.handle)
    return HttpSts("http://127.0.0.1:9", clock_ns=clock or Clock(), transport=transport, api_key=api_key)


async def outcome(service: Service, clock: Clock | None = None, deadline_ms: int = 2_000) -> StsFailure:
    sts = client(service, clock)
    with pytest.raises(StsFailure) as caught:
        await sts.process(request(deadline_ms=deadline_ms))
    await sts.aclose()
    return caught.value


async def test_sends_the_contract_with_the_key():
    service = Service(answer(success()))
    sts = client(service, api_key="s3cret")
    assert await sts.process(request()) == success()
    sent = service.requests[0]
    assert (sent.method, sent.url.path) == ("POST", "/api/v1/sts/process")
    assert sent.headers["authorization"] == "Bearer s3cret"
    assert service.body(0) == request()


async def test_a_base_path_is_kept():
    service = Service(answer(success()))
    sts = HttpSts("http://127.0.0.1:9/behind/proxy", transport=httpx.MockTransport(service.handle))
    await sts.process(request())
    assert service.requests[0].url.path == "/behind/proxy/api/v1/sts/process"


@pytest.mark.parametrize(
    "first",
    [
        httpx.ConnectError("refused"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
        answer(failure(ErrorCode.QUEUE_FULL, retryable=True), 429),
        answer(failure(ErrorCode.MODEL_ERROR, retryable=True), 500),
        httpx.Response(502, content=b"bad gateway"),
    ],
)
async def test_one_retry_saves_a_passing_failure(first: Answer):
    service = Service(first, answer(success()))
    assert await client(service).process(request()) == success()
    assert len(service.requests) == 2


async def test_never_more_than_one_retry():
    service = Service(httpx.ConnectError("refused"), httpx.ConnectError("refused"), answer(success()))
    assert isinstance(await outcome(service), StsUnavailable)
    assert len(service.requests) == 2


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        (answer(failure(ErrorCode.INVALID_INPUT), 400), StsRefused),
        (answer(failure(ErrorCode.MODEL_ERROR), 500), StsRefused),
        (answer(failure(ErrorCode.TIMEOUT, retryable=True), 504), StsTimeout),
        (httpx.ReadTimeout("slow"), StsTimeout),
        (httpx.Response(200, content=b"nonsense"), StsBadAnswer),
        (httpx.RemoteProtocolError("illegal status line"), StsBadAnswer),
        (answer(success(fragment_id="stadium/3/8")), StsBadAnswer),
    ],
)
async def test_no_retry_where_it_is_pointless(first: Answer, kind: type[StsFailure]):
    service = Service(first, answer(success()))
    assert isinstance(await outcome(service), kind)
    assert len(service.requests) == 1


async def test_no_retry_outside_the_deadline():
    clock = Clock()

    def slow_refusal() -> httpx.Response:
        clock.pass_ms(1_800)
        return answer(failure(ErrorCode.QUEUE_FULL, retryable=True), 429)

    service = Service(slow_refusal, answer(success()))
    assert isinstance(await outcome(service, clock, deadline_ms=2_000), StsRefused)
    assert len(service.requests) == 1


async def test_retry_after_beyond_the_deadline_is_not_waited_for():
    refusal = answer(failure(ErrorCode.QUEUE_FULL, retryable=True), 429, **{"retry-after": "2"})
    service = Service(refusal, answer(success()))
    refused = await outcome(service, deadline_ms=2_000)
    assert isinstance(refused, StsRefused)
    assert refused.retry_after_ms == 2_000
    assert len(service.requests) == 1


async def test_the_second_attempt_asks_only_for_the_time_left():
    clock = Clock()

    def lost_connection() -> httpx.Response:
        clock.pass_ms(700)
        raise httpx.ConnectError("refused")

    service = Service(lost_connection, answer(success()))
    await client(service, clock).process(request(deadline_ms=2_000))
    assert service.body(0).deadline_ms == 2_000
    assert service.body(1).deadline_ms == 1_300


async def test_timeouts_never_exceed_the_deadline():
    service = Service(answer(success()))
    await client(service).process(request(deadline_ms=700))
    timeout = service.requests[0].extensions["timeout"]
    assert timeout == {"connect": 0.7, "read": 0.7, "write": 0.7, "pool": 0.7}


async def test_an_endless_answer_ends_at_the_deadline():
    class Drip(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield b" "
                await asyncio.sleep(0.01)

    service = Service(httpx.Response(200, stream=Drip()))
    assert isinstance(await outcome(service, deadline_ms=150), StsTimeout)


async def test_an_oversized_answer_is_cut_off():
    class Flood(httpx.AsyncByteStream):
        sent = 0

        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                self.sent += 1
                yield b"x" * 1024 * 1024

    flood = Flood()
    assert isinstance(await outcome(Service(httpx.Response(200, stream=flood))), StsBadAnswer)
    assert flood.sent < 20


async def test_cancelling_passes_through():
    arrived = asyncio.Event()

    class Stall(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            arrived.set()
            await asyncio.Event().wait()
            yield b""

    call = asyncio.create_task(client(Service(httpx.Response(200, stream=Stall()))).process(request()))
    await asyncio.wait_for(arrived.wait(), 5)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_retry_after_as_a_date_or_nonsense_is_ignored():
    for value in ("Wed, 21 Oct 2026 07:28:00 GMT", "-1", "9" * 5_000, "1.5"):
        refusal = answer(failure(ErrorCode.QUEUE_FULL, retryable=True), 429, **{"retry-after": value})
        refused = await outcome(Service(refusal), deadline_ms=100)
        assert isinstance(refused, StsRefused)
        assert refused.retry_after_ms == 0


class TestHealth:
    async def test_ready_and_loading_are_answers(self):
        ready = {"ready": True, "models": {"asr": "x"}, "languages": {"es": ["en"]}}
        loading = {"ready": False, "detail": "loading models"}
        service = Service(
            httpx.Response(200, content=json.dumps(ready)), httpx.Response(503, content=json.dumps(loading))
        )
        sts = client(service)
        assert (await sts.health()).languages == {"es": ("en",)}
        assert (await sts.health()).detail == "loading models"

    @pytest.mark.parametrize(
        "bad",
        [
            httpx.ConnectError("refused"),
            httpx.Response(200, content=b"ok"),
            httpx.Response(500, content=b'{"ready":true}'),
        ],
    )
    async def test_anything_else_is_unavailable(self, bad: Answer):
        with pytest.raises(StsUnavailable):
            await client(Service(bad)).health()
