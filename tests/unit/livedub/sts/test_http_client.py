from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from livedub.sts.contract import ErrorCode, StsPartial, StsRequest, StsResult
from livedub.sts.errors import StsBadAnswer, StsFailure, StsRefused, StsTimeout, StsUnavailable
from livedub.sts.http_client import HttpSts
from tests.unit.livedub.sts.exchanges import audio_partial, dub, failure, request, success, text_partial

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


def client(service: Service, clock: Callable[[], int] | None = None, api_key: str = "") -> HttpSts:
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


class Listener:
    def __init__(self) -> None:
        self.heard: list[StsPartial] = []

    async def __call__(self, partial: StsPartial) -> None:
        self.heard.append(partial)


def lines(*pieces: StsPartial | StsResult | bytes) -> httpx.Response:
    """A streamed answer, cut in places that have nothing to do with its lines."""
    text = b"".join(
        (piece if isinstance(piece, bytes) else piece.model_dump_json().encode()) + b"\n" for piece in pieces
    )

    class Pieces(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for start in range(0, len(text), 1_000):
                yield text[start : start + 1_000]

    return httpx.Response(200, stream=Pieces())


class TestStream:
    async def test_partials_come_before_the_result(self):
        service = Service(lines(text_partial(), audio_partial(), success()))
        listener = Listener()
        assert await client(service).process(request(), listener) == success()
        assert listener.heard == [text_partial(), audio_partial()]
        assert service.requests[0].url.path == "/api/v1/sts/stream"

    async def test_what_is_no_partial_or_was_told_is_dropped(self):
        said = (text_partial(), b"nonsense", b"{}", b'{"progress":1}', b"", text_partial(), audio_partial())
        result = success(dub("en"), dub("fr"))
        service = Service(lines(*said, result))
        listener = Listener()
        assert await client(service).process(request(targets=("en", "fr")), listener) == result
        assert listener.heard == [text_partial(), audio_partial()]

    @pytest.mark.parametrize(
        ("said", "kind"),
        [
            ((), StsBadAnswer),
            ((text_partial(),), StsBadAnswer),
            ((b"{}",) * 100, StsBadAnswer),
            ((success(fragment_id="stadium/3/8"),), StsBadAnswer),
            ((b'{"status":"success"}',), StsBadAnswer),
            ((failure(ErrorCode.INVALID_INPUT),), StsRefused),
            ((failure(ErrorCode.TIMEOUT, retryable=True),), StsTimeout),
        ],
    )
    async def test_the_last_line_decides(
        self, said: tuple[StsPartial | StsResult | bytes, ...], kind: type[StsFailure]
    ):
        service = Service(lines(*said))
        with pytest.raises(kind):
            await client(service).process(request(), Listener())
        assert len(service.requests) == 1

    @pytest.mark.parametrize(
        ("refusal", "kind"),
        [
            (answer(failure(ErrorCode.QUEUE_FULL, retryable=True, fragment_id=""), 429), StsRefused),
            (answer(failure(ErrorCode.AUTH_FAILED, fragment_id=""), 401), StsRefused),
            (httpx.Response(502, content=b"bad gateway"), StsUnavailable),
            (httpx.Response(404, content=b"not found"), StsUnavailable),
        ],
    )
    async def test_a_refusal_has_no_lines(self, refusal: httpx.Response, kind: type[StsFailure]):
        sts = HttpSts(
            "http://127.0.0.1:9", retry=False, transport=httpx.MockTransport(Service(refusal).handle)
        )
        with pytest.raises(kind):
            await sts.process(request(), Listener())

    async def test_text_is_not_told_again_by_the_retry(self):
        service = Service(
            lines(text_partial(), failure(ErrorCode.GPU_OOM, retryable=True)),
            lines(text_partial(), audio_partial(), success()),
        )
        listener = Listener()
        assert await client(service).process(request(), listener) == success()
        assert listener.heard == [text_partial(), audio_partial()]

    async def test_no_retry_once_audio_was_delivered(self):
        service = Service(
            lines(text_partial(), audio_partial(), failure(ErrorCode.GPU_OOM, retryable=True)),
            lines(success()),
        )
        with pytest.raises(StsRefused):
            await client(service).process(request(), Listener())
        assert len(service.requests) == 1

    async def test_a_line_without_end_is_cut_off(self):
        class Flood(httpx.AsyncByteStream):
            sent = 0

            async def __aiter__(self) -> AsyncIterator[bytes]:
                while True:
                    self.sent += 1
                    yield b"x" * 1024 * 1024

        flood = Flood()
        with pytest.raises(StsBadAnswer, match="line of more than"):
            await client(Service(httpx.Response(200, stream=flood))).process(request(), Listener())
        assert flood.sent < 20

    async def test_a_stalled_line_ends_at_the_deadline(self):
        class Stall(httpx.AsyncByteStream):
            async def __aiter__(self) -> AsyncIterator[bytes]:
                yield text_partial().model_dump_json().encode() + b"\n"
                await asyncio.Event().wait()

        listener = Listener()
        with pytest.raises(StsTimeout):
            await client(Service(httpx.Response(200, stream=Stall())), time.monotonic_ns).process(
                request(deadline_ms=150), listener
            )
        assert listener.heard == [text_partial()]

    async def test_what_the_listener_raises_is_raised_and_closes_the_answer(self):
        class Closing(httpx.AsyncByteStream):
            closed = False

            async def __aiter__(self) -> AsyncIterator[bytes]:
                yield text_partial().model_dump_json().encode() + b"\n"
                await asyncio.Event().wait()

            async def aclose(self) -> None:
                self.closed = True

        async def broken(_: StsPartial) -> None:
            raise TimeoutError("the listener's own")

        stream = Closing()
        with pytest.raises(TimeoutError, match="the listener's own"):
            await client(Service(httpx.Response(200, stream=stream))).process(request(), broken)
        assert stream.closed


@pytest.mark.parametrize("listener", [None, Listener()])
async def test_giving_up_closes_the_connection(listener: Listener | None):
    """A stalling server of its own sees the end of the connection, however the caller gives up."""
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        while await reader.read(65_536):
            pass
        gone.set()
        writer.close()

    server = await asyncio.start_server(stall, "127.0.0.1", 0)
    async with server:
        sts = HttpSts(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        call = asyncio.create_task(sts.process(request(deadline_ms=60_000), listener))
        await asyncio.wait_for(arrived.wait(), 10)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(gone.wait(), 10)
        gone.clear()
        with pytest.raises(StsTimeout):
            await sts.process(request(deadline_ms=100), listener)
        await asyncio.wait_for(gone.wait(), 10)
        await sts.aclose()
    assert asyncio.all_tasks() == {asyncio.current_task()}


class TestWarmUp:
    async def test_it_asks_until_the_service_is_ready(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("livedub.sts.http_client._WARM_UP_PAUSE_MS", 1)
        loading = httpx.Response(503, content=json.dumps({"ready": False, "detail": "loading models"}))
        ready = httpx.Response(200, content=json.dumps({"ready": True}))
        service = Service(httpx.ConnectError("refused"), loading, httpx.Response(204), ready)
        await client(service).warm_up(timeout_ms=10_000)
        assert [sent.url.path for sent in service.requests] == ["/health"] * 4

    @pytest.mark.parametrize(
        ("last", "says"),
        [
            (httpx.Response(503, content=b'{"ready":false,"detail":"loading models"}'), "loading models"),
            (httpx.ConnectError("refused"), "refused"),
        ],
    )
    async def test_it_gives_up_in_time_and_says_why(self, last: Answer, says: str):
        clock = Clock()
        service = Service(last)
        with pytest.raises(StsUnavailable, match=says):
            await client(service, clock).warm_up(timeout_ms=400)
        assert len(service.requests) == 1
