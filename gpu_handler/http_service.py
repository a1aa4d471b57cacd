"""The STS service over HTTP: routes, authentication, bodies, status codes.

`POST /api/v1/sts/process` answers an `StsResult`, whatever happens; the status code repeats its error for proxies and
people: 200 success or partial, 400 INVALID_INPUT, DURATION_MISMATCH or UNSUPPORTED_LANGUAGE, 401 AUTH_FAILED, 408 a
body that did not come in time, 413 one that is too large, 429 QUEUE_FULL, 500 MODEL_ERROR or GPU_OOM, 503 models are
loading, 504 TIMEOUT. `POST /api/v1/sts/stream` answers newline-delimited JSON: `StsPartial` lines (they have `kind`),
then one `StsResult` line (it has `status`); only what is refused before work starts has another status than 200.
`GET /health` is 200 when every model is loaded, else 503; `GET /ping` is 200 or, while loading, 204, as RunPod's
load balancer wants it; `GET /metrics` is for Prometheus.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Lifespan, Receive, Scope, Send

from gpu_handler.dispatcher import Dispatcher, failed
from gpu_handler.request_check import RequestRefusedError, parse_request, refused
from gpu_handler.service_metrics import CONTENT_TYPE
from livedub.sts.contract import (
    MAX_AUDIO_BASE64_BYTES,
    ErrorCode,
    Stage,
    Status,
    StsError,
    StsPartial,
    StsRequest,
    StsResult,
)

logger = logging.getLogger(__name__)

_JSON = "application/json"
_NDJSON = "application/x-ndjson"
_STATUS_OF = {
    ErrorCode.INVALID_INPUT: HTTPStatus.BAD_REQUEST,
    ErrorCode.DURATION_MISMATCH: HTTPStatus.BAD_REQUEST,
    ErrorCode.UNSUPPORTED_LANGUAGE: HTTPStatus.BAD_REQUEST,
    ErrorCode.AUTH_FAILED: HTTPStatus.UNAUTHORIZED,
    ErrorCode.QUEUE_FULL: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.TIMEOUT: HTTPStatus.GATEWAY_TIMEOUT,
    ErrorCode.MODEL_ERROR: HTTPStatus.INTERNAL_SERVER_ERROR,
    ErrorCode.GPU_OOM: HTTPStatus.INTERNAL_SERVER_ERROR,
}
_CALLER_GONE = 499
_RETRY_AFTER = {"retry-after": "1"}
_CLOSE = {"connection": "close"}
_DISCARD_S = 2.0
_DISCARD_BYTES = 64 * 1024 * 1024
_ANSWER_MARGIN_S = 1.0


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What a request body may cost: its size, and how long its sender may take."""

    largest_bytes: int = MAX_AUDIO_BASE64_BYTES + 1024 * 1024
    timeout_s: float = 10.0


def create_app(
    dispatcher: Dispatcher,
    *,
    api_keys: Sequence[str] = (),
    limits: BodyLimits | None = None,
    lifespan: Lifespan[Starlette] | None = None,
) -> Starlette:
    """The ASGI application.

    Args:
        dispatcher: what works on fragments.
        api_keys: bearer tokens, each of which opens; none asks for none.
        limits: what a body may cost.
        lifespan: what loads and closes the dispatcher.
    """
    service = _Service(dispatcher, api_keys, limits or BodyLimits())
    return Starlette(
        routes=[
            Route("/api/v1/sts/process", service.process, methods=["POST"]),
            Route("/api/v1/sts/stream", service.stream, methods=["POST"]),
            Route("/health", service.health, methods=["GET"]),
            Route("/ping", service.ping, methods=["GET"]),
            Route("/metrics", service.metrics, methods=["GET"]),
        ],
        exception_handlers={Exception: _broken},
        lifespan=lifespan,
    )


class _Refusal(Exception):  # noqa: N818 - an answer on its way out, not an error of the service
    """An answer in place of work; `unread` where the body, or the rest of it, still lies in the connection."""

    def __init__(
        self, refusal: RequestRefusedError, status: HTTPStatus | None = None, *, unread: bool = False
    ) -> None:
        super().__init__(str(refusal))
        self.result = failed(refusal.fragment_id, refusal.error)
        self.status = status or _STATUS_OF[refusal.error.code]
        self.unread = unread


class _Service:
    """The endpoints."""

    def __init__(self, dispatcher: Dispatcher, api_keys: Sequence[str], limits: BodyLimits) -> None:
        self._dispatcher = dispatcher
        self._authorizations = tuple(b"Bearer " + key.encode() for key in api_keys)
        self._limits = limits

    async def health(self, _http: Request) -> Response:
        health = self._dispatcher.health
        status = HTTPStatus.OK if health.ready else HTTPStatus.SERVICE_UNAVAILABLE
        return Response(health.model_dump_json(), status, media_type=_JSON)

    async def ping(self, _http: Request) -> Response:
        return Response(status_code=HTTPStatus.OK if self._dispatcher.health.ready else HTTPStatus.NO_CONTENT)

    async def metrics(self, _http: Request) -> Response:
        return Response(self._dispatcher.metrics.exposition(), media_type=CONTENT_TYPE)

    async def process(self, http: Request) -> Response:
        return await self._handle(http, self._result)

    async def stream(self, http: Request) -> Response:
        return await self._handle(http, self._partials_and_result)

    async def _handle(
        self, http: Request, answer: Callable[[Request, StsRequest, int], Awaitable[Response]]
    ) -> Response:
        received_ns = self._dispatcher.clock_ns()
        try:
            return await answer(http, await self._accept(http), received_ns)
        except _Refusal as refusal:
            self._dispatcher.metrics.refused(refusal.result)
            logger.warning("request refused with %d: %s", refusal.status, refusal)
            return _refused(refusal)
        except ClientDisconnect:
            self._dispatcher.metrics.cancelled()
            logger.info("the caller hung up before an answer")
            return Response(status_code=_CALLER_GONE)

    async def _result(self, http: Request, request: StsRequest, received_ns: int) -> Response:
        work = asyncio.create_task(self._dispatcher.run(request, received_ns=received_ns))
        gone = asyncio.create_task(_hung_up(http))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise ClientDisconnect
            return _answer(work.result())
        finally:
            work.cancel()
            gone.cancel()

    async def _partials_and_result(self, _http: Request, request: StsRequest, received_ns: int) -> Response:
        # Starlette ends the iteration, and with it the work, when the caller hangs up.
        return StreamingResponse(self._lines(request, received_ns), media_type=_NDJSON)

    async def _lines(self, request: StsRequest, received_ns: int) -> AsyncIterator[str]:
        lines: asyncio.Queue[StsPartial | StsResult] = asyncio.Queue(2 + len(request.config.targets))

        async def work() -> None:
            await lines.put(
                await self._dispatcher.run(request, received_ns=received_ns, on_partial=lines.put)
            )

        worker = asyncio.create_task(work(), name=f"stream {request.fragment_id}")
        longest_s = request.deadline_ms / 1_000 + _ANSWER_MARGIN_S
        answered = False
        try:
            while not answered:
                line = await asyncio.wait_for(lines.get(), longest_s)
                answered = isinstance(line, StsResult)
                yield line.model_dump_json() + "\n"
        finally:
            worker.cancel()
            if not answered:
                self._dispatcher.metrics.cancelled()

    async def _accept(self, http: Request) -> StsRequest:
        """The request, fit to be worked on."""
        self._check_head(http)
        body = await self._read(http)
        try:
            request = parse_request(body)
            self._dispatcher.refuse(request)
        except RequestRefusedError as refusal:
            raise _Refusal(refusal) from refusal
        return request

    def _check_head(self, http: Request) -> None:
        """What can be told from the head, before megabytes of body are read."""
        self._check_key(http)
        if not self._dispatcher.health.ready:
            detail = self._dispatcher.health.detail
            refusal = refused(ErrorCode.MODEL_ERROR, f"{detail}. Try again later.", retryable=True)
            raise _Refusal(refusal, HTTPStatus.SERVICE_UNAVAILABLE, unread=True)
        try:
            self._dispatcher.refuse_unread()
        except RequestRefusedError as refusal:
            raise _Refusal(refusal, unread=True) from refusal
        if http.headers.get("content-encoding", "identity") != "identity":
            refusal = refused(ErrorCode.INVALID_INPUT, "Content-Encoding is set. Send the JSON as it is.")
            raise _Refusal(refusal, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, unread=True)
        length = http.headers.get("content-length", "0")
        # A malformed length never gets here: the HTTP server refuses it.
        if len(length) > 12 or int(length) > self._limits.largest_bytes:
            raise self._too_large()

    def _check_key(self, http: Request) -> None:
        if not self._authorizations:
            return
        given = http.headers.get("authorization", "").encode("utf-8", "replace")
        # All are compared, each in constant time: how long it takes tells nothing about any of them.
        if not sum([hmac.compare_digest(given, known) for known in self._authorizations]):
            refusal = refused(
                ErrorCode.AUTH_FAILED,
                "Authorization is missing or wrong. Send 'Bearer ' and the service's STS_API_KEY.",
            )
            raise _Refusal(refusal, unread=True)

    async def _read(self, http: Request) -> bytes:
        try:
            return await asyncio.wait_for(self._collect(http), self._limits.timeout_s)
        except asyncio.TimeoutError:
            refusal = refused(
                ErrorCode.TIMEOUT,
                f"the body did not come within {self._limits.timeout_s:g} s. Send it at once.",
                retryable=True,
            )
            raise _Refusal(refusal, HTTPStatus.REQUEST_TIMEOUT, unread=True) from None

    async def _collect(self, http: Request) -> bytes:
        body = bytearray()
        async for block in http.stream():
            body += block
            if len(body) > self._limits.largest_bytes:
                raise self._too_large()
        return bytes(body)

    def _too_large(self) -> _Refusal:
        refusal = refused(
            ErrorCode.INVALID_INPUT,
            f"the body exceeds {self._limits.largest_bytes} bytes. Send a shorter fragment, FLAC or a lower rate.",
        )
        return _Refusal(refusal, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, unread=True)


class _UnreadResponse(Response):
    """An answer to a request whose body was not read.

    Closing with unread data resets the connection (RFC 9112, section 9.6), and the caller may lose the answer: so
    the answer goes out at once, the rest of the body is thrown away for a while, then the connection closes.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - Starlette calls it
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(_discard(receive), _DISCARD_S)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _discard(receive: Receive) -> None:
    discarded_bytes = 0
    while discarded_bytes < _DISCARD_BYTES:
        message = await receive()
        discarded_bytes += len(message.get("body", b""))
        if not message.get("more_body", False):
            return


async def _hung_up(http: Request) -> None:
    """Return when the caller has closed the connection; the body has been read before."""
    while (await http.receive())["type"] != "http.disconnect":
        pass


def _refused(refusal: _Refusal) -> Response:
    headers = dict(_CLOSE) if refusal.unread else {}
    if refusal.status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        headers |= _RETRY_AFTER
    if refusal.status is HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    kind = _UnreadResponse if refusal.unread else Response
    return kind(refusal.result.model_dump_json(), refusal.status, headers, media_type=_JSON)


def _answer(result: StsResult) -> Response:
    status = HTTPStatus.OK
    if result.error is not None and result.status is Status.ERROR:
        status = _STATUS_OF[result.error.code]
    headers = _RETRY_AFTER if status is HTTPStatus.TOO_MANY_REQUESTS else None
    return Response(result.model_dump_json(), status, headers, media_type=_JSON)


async def _broken(_http: Request, _error: Exception) -> Response:
    """A bug in the service still answers as the contract says; the server logs the traceback."""
    error = StsError(
        stage=Stage.INPUT,
        code=ErrorCode.MODEL_ERROR,
        message="the service failed; its log says more.",
        retryable=True,
    )
    return _answer(failed("", error))
