"""`python -m local.function_front FOLDER --port N`: one Lambda function behind plain HTTP, served by uvicorn.

Requests become events of API Gateway's HTTP API and answers come back, by the same code as in the local AWS; what it
leaves out is everything around a function: routes, roles, the emulator.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn

from local.aws.http_event import (
    HttpAnswer,
    HttpRequest,
    MalformedAnswerError,
    Matched,
    function_answer,
    request_event,
)
from local.aws.routes import DEFAULT_ROUTE
from local.function_workers import FunctionFailedError, FunctionWorkers

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 10 * 1024 * 1024
"""API Gateway's limit."""
ANSWER_BOUND_S = 30.0
"""API Gateway's longest wait for a function; the function itself runs on."""
_DRAIN_S = 3

Call = Callable[[Mapping[str, Any]], Awaitable[bytes]]
_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


class FunctionFront:
    """An ASGI application over one function.

    Args:
        call: calls the function with an event.
        answer_bound_s: how long to wait for it.
    """

    def __init__(self, call: Call, *, answer_bound_s: float = ANSWER_BOUND_S) -> None:
        self._call = call
        self._answer_bound_s = answer_bound_s

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        body = await _body(receive)
        if body is None:
            answer = HttpAnswer.message(413, "Request Entity Too Large")
        else:
            answer = await self._answer(_request(scope, body))
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers
        ]
        headers.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        content = b"" if scope["method"] == "HEAD" else answer.body
        await send({"type": "http.response.body", "body": content})

    async def _answer(self, request: HttpRequest) -> HttpAnswer:
        event = request_event(request, Matched(DEFAULT_ROUTE, "local"))
        try:
            return function_answer(await asyncio.wait_for(self._call(event), self._answer_bound_s))
        except (TimeoutError, asyncio.TimeoutError):
            return HttpAnswer.message(503, "Service Unavailable")
        except (FunctionFailedError, MalformedAnswerError) as error:
            log.error("%s %s: %s", request.method, request.path, error)
            return HttpAnswer.message(500, "Internal Server Error")


def _request(scope: Mapping[str, Any], body: bytes) -> HttpRequest:
    return HttpRequest(
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]],
        body=body,
        remote_address=(scope.get("client") or ("127.0.0.1", 0))[0],
    )


async def _body(receive: _Receive) -> bytes | None:
    """The body, read to its end; None when it is too large."""
    body, size_bytes = bytearray(), 0
    while True:
        message = await receive()
        part = message.get("body", b"")
        size_bytes += len(part)
        if size_bytes <= MAX_BODY_BYTES:
            body += part
        if not message.get("more_body"):
            return bytes(body) if size_bytes <= MAX_BODY_BYTES else None


async def serve(folder: Path, *, host: str, port: int, workers: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    async with FunctionWorkers(folder, workers) as pool:
        config = uvicorn.Config(
            FunctionFront(pool.call),
            host=host,
            port=port,
            lifespan="off",
            log_level="warning",
            timeout_graceful_shutdown=_DRAIN_S,
            server_header=False,
        )
        await uvicorn.Server(config).serve()


def main(arguments: list[str]) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m local.function_front", description=__doc__)
    parser.add_argument("folder", type=Path, help="the function's folder, such as functions/library_api")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=2, help="requests that are worked on at once")
    options = parser.parse_args(arguments)
    folder = options.folder.resolve()
    if not (folder / "handler.py").is_file():
        parser.error(f"{folder} holds no handler.py")
    asyncio.run(serve(folder, host=options.host, port=options.port, workers=options.workers))


if __name__ == "__main__":
    main(sys.argv[1:])
