"""What the Lambda functions of the state machine `media_job` do."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from typing import Any
from uuid import UUID

from livedub.library.executor import Executor, executor_from
from livedub.library.job_attempt import AttemptEnd
from livedub.library.job_callback_client import post_callback
from livedub.library.job_kit import JobKit
from livedub.library.job_names import parts_prefix
from livedub.library.job_route import Route, route_of
from livedub.library.job_sweep import sweep
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.library_settings import LibrarySettings
from livedub.library.types import BucketRole, Job, JobKind, JobState, MediaError

_RESERVE_S = 20.0
"""Of a function's time: for saying in the catalogue that a host is to take over."""
_TIME_OUTS = frozenset({"States.Timeout", "States.HeartbeatTimeout"})
_ENDED = {JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED}


class HandOverError(LibraryError):
    """The function lets go of the job; the state machine gives it to a host."""


@functools.cache
def kit() -> JobKit:
    """The process's own.

    Raises:
        ConfigurationError: a variable is malformed.
    """
    return JobKit(LibrarySettings.load())


def route_job(event: dict[str, Any]) -> dict[str, Any]:
    """Say where the job of `event` is to be done, and with how many hosts at once."""
    job = kit().jobs.get(UUID(event["job_id"]))
    settings = kit().settings
    asset = kit().catalogue.assets.find(BucketRole.IN, job.source_key)
    route = route_of(
        job,
        size_bytes=_size_bytes(job),
        duration_ms=asset.duration_ms if asset is not None else None,
        settings=settings,
    )
    return {
        "job_id": str(job.id),
        "route": route.value,
        "hosts": settings.fan_out_hosts if route is Route.FAN_OUT else 1,
    }


def run_job_in_function(event: dict[str, Any], *, remaining_s: float) -> dict[str, Any]:
    """Work on the job of `event` within the function's time.

    Raises:
        HandOverError: it did not end here: no time, no room, something out of order, or somebody else has it.
    """
    worker = kit()
    patience = replace(
        worker.patience,
        timeout_s=max(1.0, min(worker.patience.timeout_s, remaining_s - _RESERVE_S)),
        hands_over=True,
    )
    # Named after the execution: when the state machine tries again, the call before is dead.
    result = worker.attempt(UUID(event["job_id"]), str(event["token"]), patience=patience)
    if result.end in {AttemptEnd.RELEASED, AttemptEnd.LOST}:
        why = result.error.message if result.error is not None else f"it is {result.job.state.value}"
        raise HandOverError(LibraryErrorCode.WORK_FAILED, f"Job {result.job.id} does not end here: {why}")
    return {"state": result.job.state.value, "attempt": result.job.attempt}


def end_job(event: dict[str, Any]) -> dict[str, Any]:
    """Report the end of the job of `event` to the library's API; `error` is what the state machine caught.

    A job that has ended is reported as it ended. One that has not, because nobody was left to say so, has failed.
    An EventBridge event about an execution that was cut off counts as what that machine could not say itself.

    Raises:
        LibraryError: the API cannot be reached, or refused.
    """
    if "detail" in event:
        detail = event["detail"]
        event = {**json.loads(detail["input"]), "error": {"Error": f"the execution was {detail['status']}"}}
    job = kit().jobs.get(UUID(event["job_id"]))
    error = job.error if job.state in _ENDED else _unheard_of(event.get("error") or {})
    state = job.state if job.state in _ENDED else JobState.FAILED
    if job.kind is JobKind.DUB:
        kit().storage.delete_prefix(kit().settings.bucket_out, parts_prefix(job.id))
    post_callback(kit().callback_url, kit().callback_secret, job, state, error)
    return {"state": state.value, "attempt": job.attempt}


def sweep_jobs() -> dict[str, Any]:
    """Submit every job again that waits for too long: its hint was lost. One whose execution runs is not begun twice.

    Raises:
        LibraryError: the catalogue or Step Functions cannot be reached.
    """
    settings = kit().settings
    return {"given_again": sweep(kit().jobs, _executor(), pending_s=settings.pending_patience_s)}


@functools.cache
def _executor() -> Executor:
    return executor_from(kit().settings)


def _size_bytes(job: Job) -> int | None:
    try:
        return kit().storage.stat(kit().settings.bucket_in, job.source_key).size_bytes
    except LibraryError:
        # Whoever does the job meets the same, and says so in its row.
        return None


def _unheard_of(caught: dict[str, Any]) -> MediaError:
    name = str(caught.get("Error", "")) or "nothing was reported"
    timed_out = name in _TIME_OUTS
    return MediaError(
        code=LibraryErrorCode.TIMED_OUT if timed_out else LibraryErrorCode.WORK_FAILED,
        message=f"The state machine gave the job up: {name}. {str(caught.get('Cause', ''))[:500]}".strip(),
        remedy="See the execution's history and the hosts' logs, then retry the job.",
    )
