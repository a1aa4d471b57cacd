"""The API that clients of an endpoint use: `/v2/<endpoint_id>/<operation>`."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local.runpod.endpoint import Endpoint
from local.runpod.jobs import Job, NotRetryableError, Policy, QueueFullError, UnknownJobError
from local.runpod.limits import Limits
from local.runpod.wire import Refusal, answer, check_key, named, read_json

_NOT_EMULATED = ("webhook", "s3Config")
Operation = Callable[[Endpoint, Request], Awaitable[Response]]


def client_routes(endpoints: Mapping[str, Endpoint], key: str) -> list[Route]:
    """Routes of the client API for these endpoints."""

    def route(path: str, operation: Operation, *methods: str) -> Route:
        async def handle(http: Request) -> Response:
            try:
                check_key(http, key)
                return await operation(named(endpoints, http), http)
            except Refusal as refusal:
                return refusal.response()
            except UnknownJobError as error:
                return Refusal(404, str(error)).response()
            except QueueFullError as error:
                return Refusal(429, str(error)).response()
            except NotRetryableError as error:
                return Refusal(400, str(error)).response()

        return Route(f"/v2/{{endpoint_id}}/{path}", handle, methods=list(methods))

    return [
        route("run", _run, "POST"),
        route("runsync", _runsync, "POST"),
        route("status/{job_id}", _status, "GET", "POST"),
        route("stream/{job_id}", _stream, "GET", "POST"),
        route("cancel/{job_id}", _cancel, "POST"),
        route("retry/{job_id}", _retry, "POST"),
        route("purge-queue", _purge, "POST"),
        route("health", _health, "GET"),
    ]


async def _run(endpoint: Endpoint, http: Request) -> Response:
    job = await _submit(endpoint, http, endpoint.limits.run_body_bytes, synchronous=False)
    return answer({"id": job.job_id, "status": "IN_QUEUE"})


async def _runsync(endpoint: Endpoint, http: Request) -> Response:
    wait_s = _wait_s(http.query_params.get("wait", ""), endpoint.limits)
    job = await _submit(endpoint, http, endpoint.limits.runsync_body_bytes, synchronous=True)
    await endpoint.ended(job, wait_s=wait_s)
    return answer(job.view())


async def _status(endpoint: Endpoint, http: Request) -> Response:
    return answer(_job(endpoint, http).view())


async def _stream(endpoint: Endpoint, http: Request) -> Response:
    status, chunks = endpoint.board.read_stream(http.path_params["job_id"])
    return answer({"status": status.value, "stream": chunks})


async def _cancel(endpoint: Endpoint, http: Request) -> Response:
    job = endpoint.cancel(http.path_params["job_id"])
    return answer({"id": job.job_id, "status": job.status.value})


async def _retry(endpoint: Endpoint, http: Request) -> Response:
    job = endpoint.retry(http.path_params["job_id"])
    return answer({"id": job.job_id, "status": "IN_QUEUE"})


async def _purge(endpoint: Endpoint, _http: Request) -> Response:
    return answer({"removed": endpoint.purge(), "status": "completed"})


async def _health(endpoint: Endpoint, _http: Request) -> Response:
    return answer(endpoint.board.health())


def _job(endpoint: Endpoint, http: Request) -> Job:
    return endpoint.board.job(http.path_params["job_id"])


async def _submit(endpoint: Endpoint, http: Request, most_bytes: int, *, synchronous: bool) -> Job:
    document, size_bytes = await read_json(http, most_bytes)
    if not isinstance(document, dict) or not document.get("input"):
        raise Refusal(400, "input is missing: send an object with the job under `input`.")
    request = cast("dict[str, Any]", document)
    for name in _NOT_EMULATED:
        if request.get(name):
            raise Refusal(400, f"{name} is not emulated here.")
    policy = parse_policy(request.get("policy") or {}, endpoint.limits)
    return endpoint.submit(request["input"], size_bytes=size_bytes, policy=policy, synchronous=synchronous)


def parse_policy(given: Any, limits: Limits) -> Policy:
    """The time limits that a job asks for.

    Raises:
        Refusal: 400, one is outside the documented range.
    """
    if not isinstance(given, dict):
        raise Refusal(400, "policy: send an object.")
    wanted = cast("dict[str, Any]", given)
    execution_s = _seconds(wanted, "executionTimeout", limits.execution_timeout_s)
    if execution_s <= limits.execution_timeout_shortest_s:
        shortest_ms = round(limits.execution_timeout_shortest_s * 1000)
        raise Refusal(400, f"policy.executionTimeout: send more than {shortest_ms} ms.")
    ttl_s = _seconds(wanted, "ttl", limits.ttl_s)
    if not limits.ttl_shortest_s <= ttl_s <= limits.ttl_longest_s:
        shortest_ms, longest_ms = round(limits.ttl_shortest_s * 1000), round(limits.ttl_longest_s * 1000)
        raise Refusal(400, f"policy.ttl: send {shortest_ms} to {longest_ms} ms.")
    return Policy(execution_s, ttl_s)


def _seconds(policy: dict[str, Any], name: str, otherwise_s: float) -> float:
    milliseconds = policy.get(name)
    if milliseconds is None:
        return otherwise_s
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, (int, float)):
        raise Refusal(400, f"policy.{name}: send a number of milliseconds.")
    if not math.isfinite(milliseconds):
        raise Refusal(400, f"policy.{name}: send a number of milliseconds.")
    return milliseconds / 1000


def _wait_s(text: str, limits: Limits) -> float:
    if not text:
        return limits.runsync_wait_s
    longest_ms = round(limits.runsync_wait_longest_s * 1000)
    if not (text.isascii() and text.isdigit() and len(text) < 12) or not 1_000 <= int(text) <= longest_ms:
        raise Refusal(400, f"wait: send 1000 to {longest_ms} ms.")
    return int(text) / 1000
