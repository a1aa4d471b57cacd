"""A control plane for the relay's tests: checks every signature and nonce, answers by a small table, keeps all."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from livedub.supervision.contract import (
    ApiError,
    MediaAuthorization,
    MediaPermit,
    PathReport,
    SourceHook,
)
from livedub.supervision.paths import parse_path
from livedub.supervision.signing import SignatureRejectedError, verify

KEY = bytes(range(32))


@dataclass
class Rules:
    """What the control plane permits; tests change it while it runs."""

    stream_keys: dict[str, str] = field(default_factory=dict)
    holders: dict[str, tuple[str, int]] = field(default_factory=dict)
    """stream_id -> (publish token, generation)."""
    readers_refused: bool = False
    hook_failures: int = 0
    """So many hooks are answered 503 before one is taken."""
    authorize_delay_s: float = 0.0


class FakeControlPlane:
    """Listens from `start` to `stop` in a thread; `stop` and `start` again keep the port."""

    def __init__(self) -> None:
        self.rules = Rules()
        self.hooks: list[tuple[str, SourceHook]] = []
        self.questions: list[MediaAuthorization] = []
        self.reports: list[PathReport] = []
        self.rejected: list[str] = []
        self._nonces: set[str] = set()
        self._port = 0
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """With a path of its own, as a stage or a local emulator has: it is not part of what is signed."""
        return f"http://127.0.0.1:{self._port}/_local/api/a1"

    def start(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        self._port = listener.getsockname()[1]
        app = Starlette(routes=[Route("/_local/api/a1{path:path}", self._answer, methods=["POST"])])
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
        self._thread = threading.Thread(
            target=lambda server: asyncio.run(server.serve(sockets=[listener])),
            args=(self._server,),
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._server = self._thread = None

    def events(self) -> list[tuple[str, str]]:
        return [(event, hook.source_id) for event, hook in self.hooks]

    async def _answer(self, request: Request) -> Response:
        path, body = request.path_params["path"], await request.body()
        try:
            signed = verify(
                KEY, request.headers, body, method="POST", path=path, now_ms=int(time.time() * 1000)
            )
        except SignatureRejectedError as error:
            self.rejected.append(error.code)
            return _error(401, error.code)
        if signed.nonce in self._nonces:
            self.rejected.append("REPLAYED")
            return _error(401, "REPLAYED")
        self._nonces.add(signed.nonce)
        if path == "/v1/media/authorize":
            return await self._authorize(MediaAuthorization.model_validate_json(body))
        if path == "/v1/media/paths":
            self.reports.append(PathReport.model_validate_json(body))
            return JSONResponse({})
        return self._hook(path.rpartition("/")[2], SourceHook.model_validate_json(body))

    def _hook(self, event: str, hook: SourceHook) -> Response:
        if self.rules.hook_failures:
            self.rules.hook_failures -= 1
            return _error(503, "BUSY")
        self.hooks.append((event, hook))
        return JSONResponse({})

    async def _authorize(self, question: MediaAuthorization) -> Response:
        self.questions.append(question)
        if self.rules.authorize_delay_s:
            await asyncio.sleep(self.rules.authorize_delay_s)
        path = parse_path(question.path)
        if question.action == "read":
            refused = self.rules.readers_refused
            return _error(403, "NOT_A_READER") if refused else _permit(path.stream_id)
        if path.is_input:
            key = self.rules.stream_keys.get(path.stream_id)
            return _permit(path.stream_id) if key == question.credential else _error(403, "WRONG_STREAM_KEY")
        token, generation = self.rules.holders.get(path.stream_id, ("", 0))
        if not token or token != question.credential:
            return _error(403, "NOT_THE_HOLDER")
        return _permit(path.stream_id, generation)


def _permit(stream_id: str, generation: int | None = None) -> Response:
    return JSONResponse(MediaPermit(stream_id=stream_id, generation=generation).model_dump())


def _error(status: int, code: str) -> Response:
    body: dict[str, Any] = ApiError(code=code, message=f"{code} says the test.").model_dump()
    return JSONResponse(body, status_code=status)
