"""The relay's HTTP: what media servers, worker hosts and operators may ask.

POST /auth      MediaMTX asks whether a client may publish or read            204, 401 or 403
POST /hook      hook.py tells that a path got or lost its publisher           202
POST /nginx     nginx-rtmp's on_publish, on_publish_done, on_play             200 or 403
POST /v1/kick   {"path", "token"}: disconnect the publisher with that token   200, 403, 404
GET  /health    200 as long as the relay works, and what it counted
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from livedub.errors import InvalidInputError
from livedub.supervision.contract import ApiError, SourceHook
from livedub.supervision.paths import parse_path
from media_edge.mediamtx.generation_log import GenerationLog
from media_edge.mediamtx.relay.control_plane_client import ControlPlane
from media_edge.mediamtx.relay.gatekeeper import Gatekeeper, RefusedError, to_nobody
from media_edge.mediamtx.relay.hook_forwarder import HookForwarder
from media_edge.mediamtx.relay.incoming import (
    LONGEST_BODY_BYTES,
    Access,
    Event,
    hook_form,
    json_object,
    mediamtx_auth,
    nginx_form,
)
from media_edge.mediamtx.relay.loopback_client import LoopbackHttp
from media_edge.mediamtx.relay.mediamtx_server import MediaMtxServer
from media_edge.mediamtx.relay.nginx_arrivals import NginxArrivals
from media_edge.mediamtx.relay.nginx_server import NginxServer
from media_edge.mediamtx.relay.path_reporter import PathReporter
from media_edge.mediamtx.relay.publishers import MediaServerError, MediaServerPort, Publisher
from media_edge.mediamtx.relay.read_cache import ReadCache
from media_edge.mediamtx.relay.settings import RelaySettings

_LONGEST_TOKEN = 512
_API_LATELY_S = 60.0
_BODY_TIMEOUT_S = 2.0

log = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]


class Relay:
    """Everything of one relay; `app` is its HTTP, and the application's lifespan its life."""

    def __init__(
        self,
        settings: RelaySettings,
        *,
        server: MediaServerPort | None = None,
        control_plane: ControlPlane | None = None,
    ) -> None:
        self._settings = settings
        self._counters: Counter[str] = Counter()
        self._server = server or _media_server(settings)
        self._control_plane = control_plane or ControlPlane(
            settings.api_url, settings.key(), timeout_s=settings.forward_timeout_ms / 1_000
        )
        self._gatekeeper = Gatekeeper(
            self._control_plane,
            self._server,
            relay_id=settings.relay_id,
            timeout_s=settings.auth_timeout_ms / 1_000,
            reads=(
                ReadCache(fresh_s=settings.read_cache_s, stale_s=settings.read_stale_s)
                if settings.reads == "ask"
                else None
            ),
            counters=self._counters,
            api_networks=settings.api_network_list,
            on_admitted=_noted(settings),
        )
        self._arrivals = NginxArrivals()
        self._forwarder = HookForwarder(
            self._control_plane,
            tries=settings.hook_tries,
            queue_size=settings.hook_queue_size,
            counters=self._counters,
        )
        self._reporter = PathReporter(
            self._control_plane,
            self._server,
            self._gatekeeper,
            self._arrivals,
            relay_id=settings.relay_id,
            media=settings.media,
            counters=self._counters,
        )
        self.app = Starlette(
            routes=[
                Route("/auth", self._guarded(self._auth), methods=["POST"]),
                Route("/hook", self._guarded(self._hook), methods=["POST"]),
                Route("/nginx", self._guarded(self._nginx), methods=["POST"]),
                Route("/v1/kick", self._guarded(self._kick, outside=True), methods=["POST"]),
                Route("/health", self._guarded(self._health, outside=True), methods=["GET"]),
            ],
            lifespan=self._lifespan,
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        reporting = asyncio.create_task(
            self._reporter.run(self._settings.report_period_s), name="path reports"
        )
        try:
            yield
        finally:
            reporting.cancel()
            await asyncio.gather(reporting, return_exceptions=True)
            await self._forwarder.close(self._settings.drain_timeout_s)
            await self._control_plane.close()
            await self._server.close()

    def _guarded(self, endpoint: Endpoint, *, outside: bool = False) -> Endpoint:
        """Errors as answers; the address for worker hosts serves what is meant for them and nothing else."""

        async def answer(request: Request) -> Response:
            listener = request.scope.get("server")
            if (
                not outside
                and self._settings.kick_host
                and listener
                and listener[1] == self._settings.kick_port
            ):
                return _error(HTTPStatus.NOT_FOUND, "NOT_FOUND", "Not on this address.")
            try:
                return await endpoint(request)
            except InvalidInputError as error:
                self._counters["malformed"] += 1
                log.warning("%s: %s", request.url.path, error.message)
                return _error(HTTPStatus.BAD_REQUEST, "MALFORMED_BODY", error.message)
            except _TooLargeError:
                self._counters["malformed"] += 1
                return _error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "BODY_TOO_LARGE", "The body is too large.")
            except RefusedError as error:
                return _error(error.status, error.code, error.message)
            except MediaServerError as error:
                log.warning("%s: %s", request.url.path, error)
                return _error(HTTPStatus.BAD_GATEWAY, "MEDIA_SERVER", error.message)

        return answer

    async def _auth(self, request: Request) -> Response:
        access = mediamtx_auth(await _body(request))
        try:
            await self._gatekeeper.decide(access)
        except RefusedError as error:
            # 401 makes MediaMTX ask an RTSP or HTTP client that came without credentials for them.
            nameless = isinstance(access, Access) and not access.credential
            return Response(status_code=HTTPStatus.UNAUTHORIZED if nameless else error.status)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _hook(self, request: Request) -> Response:
        hook = hook_form(await _body(request))
        source_id = await self._server.source_id(hook.connection)
        taken = self._tell(hook.event, hook.path, source_id, hook.source_type)
        return Response(status_code=HTTPStatus.ACCEPTED if taken else HTTPStatus.SERVICE_UNAVAILABLE)

    async def _nginx(self, request: Request) -> Response:
        call = nginx_form(await _body(request))
        if call.call == "publish_done":
            await self._nginx_left(call.access)
            return Response()
        if call.call == "publish" and not call.access.is_output:
            await self._nginx_arrives(call.access)
            return Response()
        await self._gatekeeper.decide(call.access)
        return Response()

    async def _nginx_arrives(self, access: Access) -> None:
        """Let a publisher of `in` go on, and tell. nginx refuses a second one only after it asked us.

        Its end would be told then, so the second one is refused here, before anybody hears of it.
        """
        if self._arrivals.on(access.path) or await self._server.publishers_of(access.path):
            raise RefusedError("ALREADY_PUBLISHING", f"{access.path} has a publisher.")
        source_id = await self._server.source_id(access.connection)
        await self._gatekeeper.decide(access)
        if self._arrivals.on(access.path):
            raise RefusedError("ALREADY_PUBLISHING", f"{access.path} has a publisher.")
        self._arrivals.came(Publisher(access.path, source_id, access.connection))
        self._tell("publish", access.path, source_id, "rtmpConn")

    async def _nginx_left(self, access: Access) -> None:
        if access.is_output:
            return
        self._arrivals.left(access.path, access.connection)
        self._tell("unpublish", access.path, await self._server.source_id(access.connection), "rtmpConn")

    async def _kick(self, request: Request) -> Response:
        fields = json_object(await _body(request))
        path, token = fields.get("path"), fields.get("token")
        if not isinstance(path, str) or not isinstance(token, str) or not 0 < len(token) <= _LONGEST_TOKEN:
            raise InvalidInputError("The body lacks path or token.")
        kicked = await self._gatekeeper.kick_holder(str(parse_path(path)), token)
        return JSONResponse({"kicked": kicked})

    async def _health(self, _request: Request) -> Response:
        ago_s = self._control_plane.answered_ago_s
        lately = ago_s is not None and ago_s < max(_API_LATELY_S, 3 * self._settings.report_period_s)
        return JSONResponse(
            {
                "status": "ok",
                "api": "ok" if lately else "unknown" if ago_s is None else "unreachable",
                "api_answered_ago_ms": None if ago_s is None else int(ago_s * 1_000),
                "hooks_waiting": self._forwarder.waiting,
                "counters": dict(sorted(self._counters.items())),
            }
        )

    def _tell(self, event: Event, path: str, source_id: str, source_type: str) -> bool:
        if not parse_path(path).is_input:
            return True  # the worker's own output is no news
        hook = SourceHook(
            relay_id=self._settings.relay_id,
            path=path,
            source_id=source_id,
            source_type=source_type,
            occurred_at_ms=int(time.time() * 1_000),
            media=self._settings.media,
        )
        return self._forwarder.offer(event, hook)


class _TooLargeError(Exception):
    """The body has more bytes than anything we take."""


async def _body(request: Request) -> bytes:
    """The whole body, bounded in size and time."""

    async def read() -> bytes:
        body = bytearray()
        async for data in request.stream():
            body += data
            if len(body) > LONGEST_BODY_BYTES:
                raise _TooLargeError
        return bytes(body)

    try:
        return await asyncio.wait_for(read(), _BODY_TIMEOUT_S)
    except asyncio.TimeoutError:
        raise InvalidInputError("The body did not arrive in time.") from None


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse(ApiError(code=code, message=message).model_dump(), status_code=status)


def _noted(settings: RelaySettings) -> Callable[[str, int], None]:
    """Notes who publishes, where recordings are filed by it."""
    if settings.recordings_dir is None:
        return to_nobody
    generations = GenerationLog(settings.recordings_dir / "generations")
    return lambda stream_id, generation: generations.note(stream_id, generation, time.time())


def _media_server(settings: RelaySettings) -> MediaServerPort:
    http = LoopbackHttp(settings.server_api_url)
    return NginxServer(http) if settings.server == "nginx" else MediaMtxServer(http)
