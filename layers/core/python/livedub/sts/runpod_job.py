"""RunPod's job API in terms of the STS contract: what a job is sent as, and what its state means. Pure.

Limits, states and the shape of answers: docs.runpod.io/serverless/endpoints/send-requests and .../job-states.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, cast
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_json

from livedub.errors import ConfigurationError
from livedub.sts.contract import ErrorCode, Stage, StsRequest
from livedub.sts.errors import StsBadAnswer, StsFailure, StsRefused, StsTimeout, StsUnavailable

DEFAULT_BASE_URL = "https://api.runpod.ai/v2"
MAX_RUN_BYTES = 10_000_000
MAX_RUNSYNC_BYTES = 20_000_000
RUNSYNC_WAIT_MS = 1_000
"""How long `/runsync` holds its answer back: RunPod's minimum. A job's id, without which it cannot be cancelled, comes
only with that answer; a job that takes longer is polled for."""

_MIN_EXECUTION_TIMEOUT_MS = 5_001
_MIN_TTL_MS = 10_000
_POLICY_MARGIN_MS = 1_000
_ENDPOINT_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?")
_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_SAID_CHARACTERS = 300


class Route(str, Enum):
    """How a job is submitted."""

    RUN = "run"
    RUNSYNC = "runsync"


class JobStatus(str, Enum):
    """RunPod's job states."""

    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"

    @property
    def final(self) -> bool:
        """Whether the job is over."""
        return self not in {JobStatus.IN_QUEUE, JobStatus.IN_PROGRESS, JobStatus.RUNNING}


class _JobDocument(BaseModel):
    """What the operations answer; strict, because a status that is no text says nothing."""

    model_config = ConfigDict(extra="ignore", strict=True)

    id: str = ""
    status: str
    output: Any = None
    stream: list[Any] = []
    error: Any = None


class _Workers(BaseModel):
    model_config = ConfigDict(extra="ignore")

    idle: int = 0
    initializing: int = 0
    ready: int = 0
    running: int = 0
    throttled: int = 0
    unhealthy: int = 0


class _HealthDocument(BaseModel):
    model_config = ConfigDict(extra="ignore")

    workers: _Workers


@dataclass(frozen=True, slots=True)
class JobState:
    """One answer about a job.

    Attributes:
        job_id: empty where the answer does not name it.
        partials: what the worker sent before the result, in its order.
        result: the final result as JSON, where it is there.
        error: what RunPod says about a job that failed, shortened.
    """

    status: JobStatus
    job_id: str = ""
    partials: tuple[Any, ...] = field(default=(), repr=False)
    result: bytes | None = field(default=None, repr=False)
    error: str = ""


def endpoint_id(url: str) -> str:
    """The id in `runpod://<endpoint_id>`.

    Raises:
        ConfigurationError: the address holds anything else, or no id.
    """
    scheme, _, name = url.partition("://")
    if scheme != "runpod" or not _ENDPOINT_ID.fullmatch(name):
        raise ConfigurationError(
            "STS_SERVICE_URL names no RunPod endpoint: after runpod:// comes its id, letters, digits and hyphens, "
            "and nothing else.",
            remedy="Copy the id from the endpoint's page, such as runpod://abc123def456gh.",
        )
    return name


def api_base(url: str) -> str:
    """The address of RunPod's API, `STS_RUNPOD_BASE_URL`, checked.

    Raises:
        ConfigurationError: it is no http(s) address, or has a query.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for a port that is no number or too large
        good = parts.scheme in {"http", "https"} and parts.hostname and not parts.query and not parts.fragment
    except ValueError:
        good = False
    if not good:
        raise ConfigurationError(
            "STS_RUNPOD_BASE_URL is no http(s) address.", remedy=f"Leave it out, or give {DEFAULT_BASE_URL}."
        )
    return url.rstrip("/")


def job_document(request: StsRequest, left_ms: int) -> str:
    """The job for `request`: its input, and a policy by which RunPod itself drops it some time after the deadline.

    RunPod has lower bounds for both times, so the policy is the net under a client that could not cancel.
    """
    sent = request.model_copy(update={"deadline_ms": max(1, min(request.deadline_ms, left_ms))})
    execution_ms = max(_MIN_EXECUTION_TIMEOUT_MS, left_ms + _POLICY_MARGIN_MS)
    ttl_ms = max(_MIN_TTL_MS, left_ms + _POLICY_MARGIN_MS)
    policy = f'{{"executionTimeout":{execution_ms},"ttl":{ttl_ms}}}'
    return f'{{"input":{sent.model_dump_json()},"policy":{policy}}}'


def choose_route(size_bytes: int, *, partials_wanted: bool) -> Route:
    """`/run` where partials are wanted and the job fits, else `/runsync`, which takes larger ones.

    Raises:
        StsRefused: RunPod would take it neither way.
    """
    if size_bytes > MAX_RUNSYNC_BYTES:
        raise StsRefused(
            ErrorCode.INVALID_INPUT,
            f"the fragment makes a job of {size_bytes} bytes, RunPod takes {MAX_RUNSYNC_BYTES}.",
            stage=Stage.INPUT,
            retryable=False,
            remedy="Send a shorter fragment, FLAC or a lower rate.",
        )
    return Route.RUN if partials_wanted and size_bytes <= MAX_RUN_BYTES else Route.RUNSYNC


def read_job(body: bytes) -> JobState:
    """What an answer of `/run`, `/runsync`, `/status` or `/stream` says.

    Raises:
        StsBadAnswer: it is none.
    """
    try:
        document = _JobDocument.model_validate_json(body)
        status = JobStatus(document.status)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        raise StsBadAnswer(f"RunPod's answer is about no job: {problem['msg'][:200]}") from error
    except ValueError as error:
        raise StsBadAnswer(f"RunPod names an unknown job state: {error}") from error
    if document.id and not _JOB_ID.fullmatch(document.id):
        raise StsBadAnswer(f"RunPod gave a job an unusable id: {document.id[:160]!r}")
    pieces = [_unwrapped(item) for item in (*_streamed(document.stream), *_listed(document.output))]
    results = [piece for piece in pieces if _is_result(piece)]
    return JobState(
        status=status,
        job_id=document.id,
        partials=tuple(piece for piece in pieces if not _is_result(piece)),
        result=to_json(results[-1]) if results else None,
        error=_said(document.error),
    )


def _streamed(stream: list[Any]) -> list[Any]:
    return [item["output"] for each in stream if (item := _object(each)) is not None and "output" in item]


def _listed(output: Any) -> list[Any]:
    """A handler's single object and the aggregate of a generator look alike from here on."""
    if output is None:
        return []
    return cast("list[Any]", output) if isinstance(output, list) else [output]


def _unwrapped(piece: Any) -> Any:
    """The result out of `{"status": ..., "result": {...}}`.

    Workers wrap it because RunPod's SDK takes a yielded object with an `error` for a crash and throws the rest away.
    """
    wrapper = _object(piece)
    wrapped = _object(wrapper.get("result")) if wrapper is not None else None
    return piece if wrapped is None else wrapped


def _is_result(piece: Any) -> bool:
    return "status" in (_object(piece) or {})


def _object(value: Any) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _said(error: Any) -> str:
    if error is None:
        return ""
    text = error if isinstance(error, str) else to_json(error, fallback=str).decode()
    return text.replace("\n", " ").strip()[:_SAID_CHARACTERS]


def job_failure(state: JobState) -> StsFailure:
    """Why a job that is over has no result."""
    if state.status is JobStatus.TIMED_OUT:
        return StsTimeout("RunPod gave the job up: no worker finished it in its time")
    if state.status is JobStatus.CANCELLED:
        return StsUnavailable(
            "the RunPod job was cancelled by somebody else.", remedy="See who purges the endpoint's queue."
        )
    if state.status is JobStatus.FAILED:
        return StsRefused(
            ErrorCode.MODEL_ERROR,
            f"the RunPod job failed: {state.error or 'no reason given'}",
            stage=Stage.INPUT,
            retryable=True,
            remedy="See the endpoint's log.",
        )
    return StsBadAnswer("the RunPod job ended without a result in its output")


def http_failure(status_code: int, retry_after_ms: int, *, about_job: bool) -> StsFailure | None:
    """What an HTTP status of the API means; None for an answer about a job. `about_job`: the job existed before."""
    if 200 <= status_code < 300:
        return None
    if status_code in {401, 403}:
        return StsRefused(
            ErrorCode.AUTH_FAILED,
            f"RunPod refused the API key (HTTP {status_code}).",
            stage=Stage.INPUT,
            retryable=False,
            remedy="Set STS_API_KEY to a key that may use the endpoint.",
        )
    if status_code == 404:
        return StsUnavailable(
            "RunPod does not know the job any more (HTTP 404)."
            if about_job
            else "RunPod does not know the endpoint (HTTP 404).",
            remedy="Check the endpoint's id in STS_SERVICE_URL and STS_RUNPOD_BASE_URL.",
        )
    if status_code == 429:
        return StsRefused(
            ErrorCode.QUEUE_FULL,
            "RunPod's queue or rate limit is full (HTTP 429).",
            stage=Stage.QUEUE,
            retryable=True,
            retry_after_ms=retry_after_ms,
        )
    if status_code in {400, 413, 422}:
        return StsRefused(
            ErrorCode.INVALID_INPUT,
            f"RunPod refused the job (HTTP {status_code}).",
            stage=Stage.INPUT,
            retryable=False,
            remedy="Send a shorter fragment." if status_code == 413 else "Compare client and API versions.",
        )
    return StsUnavailable(
        f"RunPod's API is failing (HTTP {status_code}).",
        remedy="Check STS_RUNPOD_BASE_URL and RunPod's status.",
    )


def read_workers(body: bytes) -> tuple[bool, str]:
    """Whether a worker can take a job now, and how many of each kind there are; out of `/health`.

    Raises:
        StsBadAnswer: the answer is none of `/health`.
    """
    try:
        workers = _HealthDocument.model_validate_json(body).workers
    except ValidationError as error:
        raise StsBadAnswer("RunPod's /health does not tell about workers") from error
    counts = {name: count for name, count in workers.model_dump().items() if count}
    told = ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
    return workers.idle + workers.ready + workers.running > 0, f"workers: {told}"
