"""The HTTP front: HTTP APIs at /_local/api/<api_id>/..., function URLs at /_local/lambda/<name>/....

It calls functions directly, without a detour through moto's own HTTP interface.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from werkzeug.wrappers import Request, Response

from local.aws.connection import answering
from local.aws.function_pool import FunctionBusyError
from local.aws.function_spec import FunctionSpec, InvokeResult
from local.aws.functions import Functions
from local.aws.host_front import HostFront
from local.aws.http_event import (
    HttpAnswer,
    HttpRequest,
    MalformedAnswerError,
    Matched,
    function_answer,
    request_event,
)
from local.aws.routes import DEFAULT_ROUTE, match_route

_LOG = logging.getLogger(__name__)
PREFIX = "/_local/"
MAX_BODY_BYTES = 10 * 1024 * 1024
"""API Gateway's limit; beyond it answers 413."""
_DRAINED_BYTES = 4 * MAX_BODY_BYTES
_CHUNK_BYTES = 256 * 1024
INTEGRATION_BOUND_S = 30.0
"""API Gateway's longest integration time-out; an answer after it is a 503."""

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Catalogue(Protocol):
    """What is deployed."""

    def routes(self, api_id: str) -> Mapping[str, str] | None:
        """Route keys and the ARN of the function behind each; None for an unknown API."""
        ...

    def function(self, name_or_arn: str) -> FunctionSpec | None:
        """The function as configured now; None for an unknown one."""
        ...


class Front:
    """A WSGI application that takes its own paths and hands the others on."""

    def __init__(self, catalogue: Catalogue, functions: Functions, hosts: HostFront, otherwise: Wsgi) -> None:
        self._catalogue = catalogue
        self._functions = functions
        self._hosts = hosts
        self._otherwise = otherwise

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request."""
        with answering(environ):
            if not environ.get("PATH_INFO", "").startswith(PREFIX):
                return self._otherwise(environ, start_response)
            answer = self._answer(Request(environ))
        response = Response(answer.body, answer.status)
        response.headers.clear()
        for name, value in answer.headers:
            response.headers.add(name, value)
        return response(environ, start_response)

    def _answer(self, http: Request) -> HttpAnswer:
        kind, _, rest = http.path.removeprefix(PREFIX).partition("/")
        name, _, path = rest.partition("/")
        body = _read_body(http)
        if body is None:
            too_large = HttpAnswer.message(413, "Request Entity Too Large")
            return HttpAnswer(413, (*too_large.headers, ("Connection", "close")), too_large.body)
        request = HttpRequest(
            method=http.method,
            path=f"/{path}",
            query=http.query_string.decode("latin-1"),
            headers=list(http.headers.items()),
            body=body,
            remote_address=http.remote_addr or "",
        )
        if kind == "api":
            return self._api(name, request)
        if kind == "lambda":
            return self._function_url(name, request)
        if kind == "hosts":
            return self._hosts.answer(name, request)
        return HttpAnswer.message(404, "Not Found")

    def _api(self, api_id: str, request: HttpRequest) -> HttpAnswer:
        routes = self._catalogue.routes(api_id)
        found = match_route(routes, request.method, request.path) if routes is not None else None
        if routes is None or found is None:
            return HttpAnswer.message(404, "Not Found")
        key, parameters = found
        spec = self._catalogue.function(routes[key])
        if spec is None:
            return HttpAnswer.message(500, "Internal Server Error")
        started_s = time.monotonic()
        try:
            result = self._call(spec, request, Matched(key, api_id, parameters))
        except FunctionBusyError:
            return HttpAnswer.message(503, "Service Unavailable")
        if time.monotonic() - started_s > INTEGRATION_BOUND_S:
            return HttpAnswer.message(503, "Service Unavailable")
        return _translate(spec, result, failure_status=500)

    def _function_url(self, name: str, request: HttpRequest) -> HttpAnswer:
        spec = self._catalogue.function(name)
        if spec is None:
            return HttpAnswer.message(404, "Not Found")
        try:
            result = self._call(spec, request, Matched(DEFAULT_ROUTE, name))
        except FunctionBusyError:
            return HttpAnswer.message(429, "Rate Exceeded.")
        return _translate(spec, result, failure_status=502)

    def _call(self, spec: FunctionSpec, request: HttpRequest, matched: Matched) -> InvokeResult:
        return self._functions.call(spec, json.dumps(request_event(request, matched)).encode())


def _translate(spec: FunctionSpec, result: InvokeResult, *, failure_status: int) -> HttpAnswer:
    if not result.failed:
        try:
            return function_answer(result.payload)
        except MalformedAnswerError as error:
            _LOG.error("%s: %s", spec.name, error)
    return HttpAnswer.message(failure_status, "Internal Server Error")


def _read_body(http: Request) -> bytes | None:
    """The body; None when it is too large."""
    if (http.content_length or 0) > MAX_BODY_BYTES:
        # A client hears an answer only once it has sent all; one that closes on unread data resets the connection.
        for _ in range(_DRAINED_BYTES // _CHUNK_BYTES):
            if not http.stream.read(_CHUNK_BYTES):
                break
        return None
    body = http.stream.read(MAX_BODY_BYTES + 1)
    return None if len(body) > MAX_BODY_BYTES else body
