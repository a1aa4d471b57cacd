"""The API that RunPod's SDK uses inside a worker: `/w/<endpoint_id>/<operation>/<worker_id>`.

The SDK fills the worker's id and job ids into URL templates of its environment (`worker_environment`), derives
job-take-batch and job-stop from the one for job-take, and appends `&name=value` to them: they need a query.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local.runpod.endpoint import Endpoint
from local.runpod.jobs import Job, Json
from local.runpod.wire import Refusal, answer, check_key, named, read_json

log = logging.getLogger(__name__)

T = TypeVar("T")
Operation = Callable[[Endpoint, str, Request], Awaitable[Response]]

_MOST_IN_A_BATCH = 1_000
_CALLER_GONE = 499


def worker_environment(base_url: str, endpoint_id: str, worker_id: str, key: str) -> dict[str, str | None]:
    """Variables that make RunPod's SDK a worker of an endpoint of the emulator at `base_url`.

    The same names as on the platform. The SDK's own start-up checks ask for 4 GB of free memory and the internet:
    the platform's business, not a laptop's.
    """
    worker = f"{base_url}/w/{endpoint_id}"
    return {
        "RUNPOD_WEBHOOK_GET_JOB": f"{worker}/job-take/$ID?gpu=none",
        "RUNPOD_WEBHOOK_POST_OUTPUT": f"{worker}/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
        "RUNPOD_WEBHOOK_POST_STREAM": f"{worker}/job-stream/$RUNPOD_POD_ID/$ID?gpu=none",
        "RUNPOD_WEBHOOK_PING": f"{worker}/ping/$RUNPOD_POD_ID",
        "RUNPOD_AI_API_KEY": key or "none",
        "RUNPOD_POD_ID": worker_id,
        "RUNPOD_ENDPOINT_ID": endpoint_id,
        "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
        "RUNPOD_REALTIME_PORT": None,
    }


def worker_routes(endpoints: Mapping[str, Endpoint], key: str) -> list[Route]:
    """Routes of the worker API for these endpoints."""

    def route(path: str, operation: Operation, method: str) -> Route:
        async def handle(http: Request) -> Response:
            try:
                _check_worker_key(http, key)
                return await operation(named(endpoints, http), http.path_params["worker_id"], http)
            except Refusal as refusal:
                return refusal.response()

        return Route(f"/w/{{endpoint_id}}/{path}", handle, methods=[method])

    return [
        route("job-take/{worker_id}", _take, "GET"),
        route("job-take-batch/{worker_id}", _take_batch, "GET"),
        route("job-stop/{worker_id}", _stop, "GET"),
        route("ping/{worker_id}", _ping, "GET"),
        route("job-stream/{worker_id}/{job_id}", _push, "POST"),
        route("job-done/{worker_id}/{job_id}", _done, "POST"),
    ]


async def _take(endpoint: Endpoint, worker_id: str, http: Request) -> Response:
    jobs = await _jobs(endpoint, worker_id, 1, http)
    return answer(_given(jobs[0])) if jobs else Response(status_code=204)


async def _take_batch(endpoint: Endpoint, worker_id: str, http: Request) -> Response:
    text = http.query_params.get("batch_size", "1")
    if not text.isdigit() or not 1 <= int(text[:9]) <= _MOST_IN_A_BATCH:
        raise Refusal(400, f"batch_size: send 1 to {_MOST_IN_A_BATCH}.")
    jobs = await _jobs(endpoint, worker_id, int(text), http)
    return answer([_given(job) for job in jobs]) if jobs else Response(status_code=204)


async def _stop(endpoint: Endpoint, worker_id: str, http: Request) -> Response:
    stops = await _unless_gone(http, endpoint.stops(worker_id, wait_s=endpoint.limits.stop_wait_s))
    return answer({"jobsToStop": stops}) if stops else Response(status_code=204)


async def _ping(endpoint: Endpoint, worker_id: str, http: Request) -> Response:
    endpoint.heard(worker_id)
    if http.query_params.get("status") == "unhealthy":
        check, reason = http.query_params.get("check", ""), http.query_params.get("reason", "")
        endpoint.board.report_unhealthy(worker_id, f"{check}: {reason}")
    return answer({})


async def _push(endpoint: Endpoint, worker_id: str, http: Request) -> Response:
    chunk, size_bytes = await read_json(http, endpoint.limits.chunk_bytes)
    if not isinstance(chunk, dict):
        raise Refusal(400, "send an object.")
    element = {"output": cast("dict[str, Any]", chunk).get("output")}
    endpoint.push(worker_id, http.path_params["job_id"], element, size_bytes=size_bytes)
    return answer({})


async def _done(endpoint: Endpoint, worker_id: str, http: Request) -> Response:
    job_id = http.path_params["job_id"]
    try:
        result, size_bytes = await read_json(http, endpoint.limits.result_bytes)
    except Refusal as refusal:
        # The SDK logs a refused result and goes on; the job would hang until its time limit.
        endpoint.finish(worker_id, job_id, {"error": f"result refused: {refusal}"}, size_bytes=0)
        raise
    if not isinstance(result, dict):
        raise Refusal(400, "send an object.")
    endpoint.finish(worker_id, job_id, cast("dict[str, Any]", result), size_bytes=size_bytes)
    return answer({})


async def _jobs(endpoint: Endpoint, worker_id: str, most: int, http: Request) -> list[Job]:
    jobs = await _unless_gone(http, endpoint.take(worker_id, most, wait_s=endpoint.limits.take_wait_s))
    if jobs and await http.is_disconnected():
        endpoint.give_back(worker_id, jobs)
        raise Refusal(_CALLER_GONE, "the worker hung up.")
    return jobs


def _given(job: Job) -> Json:
    return {"id": job.job_id, "input": job.input, "webhook": None}


def _check_worker_key(http: Request, key: str) -> None:
    try:
        check_key(http, key)
    except Refusal:
        log.warning("a worker came with a wrong key: RUNPOD_AI_API_KEY of the worker is not the emulator's")
        raise


async def _unless_gone(http: Request, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns; it is cancelled when the caller hangs up.

    Raises:
        Refusal: the caller is gone.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_hung_up(http))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Refusal(_CALLER_GONE, "the worker hung up.")
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.wait({task, gone})


async def _hung_up(http: Request) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass
