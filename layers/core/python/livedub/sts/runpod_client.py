"""STS as jobs of a RunPod queue endpoint.

Not RunPod's own SDK: it polls once a second, which alone would eat a fragment's budget.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import httpx

from livedub.sts.answer import read_answer
from livedub.sts.contract import (
    MAX_AUDIO_BASE64_BYTES,
    ErrorCode,
    Health,
    StsRequest,
    StsResult,
)
from livedub.sts.deadline import Deadline
from livedub.sts.errors import StsBadAnswer, StsFailure, StsRefused, StsTimeout, StsUnavailable
from livedub.sts.partials import OnPartial, PartialGate
from livedub.sts.poll_pace import PollPace
from livedub.sts.pooled_client import TEXT_ALLOWANCE_BYTES, PooledClient
from livedub.sts.retry import with_one_retry
from livedub.sts.runpod_job import (
    DEFAULT_BASE_URL,
    RUNSYNC_WAIT_MS,
    JobState,
    JobStatus,
    Route,
    api_base,
    choose_route,
    http_failure,
    job_document,
    job_failure,
    read_job,
    read_workers,
)
from livedub.sts.runpod_warm_up import silent_request

logger = logging.getLogger(__name__)

_OK = 200
_HEALTH_TIMEOUT_MS = 3_000
_POLL_TIMEOUT_MS = 3_000
_POLL_FAILURES_BORNE = 3
_SUBMIT_MARGIN_MS = RUNSYNC_WAIT_MS + 1_000
"""How much longer than its caller a submission waits for the job's id, so that the job can be cancelled."""
_CANCEL_BOUND_S = 5.0
_CLOSE_BOUND_S = 2.0


class RunpodSts:
    """`SpeechToSpeech` over `runpod://<endpoint_id>`; see that protocol for what its methods promise.

    A job whose caller stops waiting, or whose deadline passes, is cancelled at RunPod by a task of this client's own,
    which needs at most 5 s: closing the client waits 2 s for such tasks.
    """

    def __init__(
        self,
        endpoint_id: str,
        *,
        base_url: str = DEFAULT_BASE_URL,
        api_key: str = "",
        max_connections: int = 64,
        retry: bool = True,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._clock_ns = clock_ns
        self._retry = retry
        self._http = PooledClient(
            f"{api_base(base_url)}/{endpoint_id}",
            api_key=api_key,
            max_connections=max_connections,
            transport=transport,
        )
        self._polled = 0
        self._cleanups: set[asyncio.Task[None]] = set()

    async def process(self, request: StsRequest, on_partial: OnPartial | None = None) -> StsResult:
        """As `SpeechToSpeech.process`; one retry, as a new job, where the failure may pass and time allows it."""
        deadline = Deadline(self._clock_ns, request.deadline_ms)
        gate = PartialGate(request, on_partial)
        attempt = partial(self._attempt, request, deadline, gate)
        return await (with_one_retry(attempt, deadline, gate) if self._retry else attempt())

    async def health(self) -> Health:
        """Whether the endpoint has a worker that can take a job; RunPod does not know its languages."""
        answer = await self._http.exchange("GET", "health", timeout_ms=_HEALTH_TIMEOUT_MS)
        if failure := http_failure(answer.status_code, answer.retry_after_ms, about_job=False):
            raise failure
        ready, told = read_workers(answer.body)
        return Health(ready=ready, detail=told)

    async def warm_up(self, *, timeout_ms: int) -> None:
        """As `SpeechToSpeech.warm_up`, by a job of a tenth of a second of silence: RunPod starts a worker for it.

        Whatever the worker answers, it has loaded its models.
        """
        asked = silent_request(min(timeout_ms, 120_000))
        deadline = Deadline(self._clock_ns, asked.deadline_ms)
        try:
            await self._attempt(asked, deadline, PartialGate(asked, None))
        except StsRefused as refusal:
            if refusal.retryable or refusal.code is ErrorCode.AUTH_FAILED:
                raise

    async def aclose(self) -> None:
        """Let cancellations under way finish, bounded, and close the pool."""
        if self._cleanups:
            _, late = await asyncio.wait(set(self._cleanups), timeout=_CLOSE_BOUND_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._http.aclose()

    async def _attempt(self, request: StsRequest, deadline: Deadline, gate: PartialGate) -> StsResult:
        left_ms = deadline.left_ms()
        if left_ms < 1:
            raise StsTimeout(f"the deadline of {request.deadline_ms} ms passed before RunPod could be asked")
        document = job_document(request, left_ms)
        route = choose_route(len(document), partials_wanted=gate.wanted)
        job = _Job(self._http, route, document, largest_bytes=_largest_answer_bytes(request))
        done = False
        try:
            state = await self._until_over(job, deadline, gate)
            done = True
        finally:
            if not done:
                self._in_background(job.abandon())
        if state.result is None:
            raise job_failure(state)
        return read_answer(request, _OK, state.result)

    async def _until_over(self, job: _Job, deadline: Deadline, gate: PartialGate) -> JobState:
        state = await job.submit(deadline)
        if state.status.final:
            return await job.complete(state, deadline)
        pace = PollPace()
        self._polled += 1
        try:
            while True:
                await _pause(pace.next_pause_ms(self._polled), deadline)
                state = await job.poll(deadline, pace)
                if state.partials:
                    pace.news()
                    await gate.offer_each(state.partials)
                if state.result is not None:
                    return state
                if state.status.final:
                    return await job.complete(state, deadline)
        finally:
            self._polled -= 1

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="runpod cancel")
        self._cleanups.add(task)
        task.add_done_callback(self._cleanups.discard)


class _Job:
    """One job: submitted, asked about, or given up."""

    def __init__(self, http: PooledClient, route: Route, document: str, *, largest_bytes: int) -> None:
        self._http = http
        self._route = route
        self._document = document
        self._largest_bytes = largest_bytes
        self._submission: asyncio.Task[JobState] | None = None
        self._id = ""
        self._over = False
        self._failures_in_a_row = 0

    async def submit(self, deadline: Deadline) -> JobState:
        """Hand the job in.

        In a task of its own: a caller that gives up in the middle must not lose the id by which to cancel the job.
        """
        left_ms = max(1, deadline.left_ms())
        self._submission = asyncio.create_task(self._post(left_ms + _SUBMIT_MARGIN_MS), name="runpod submit")
        done, _ = await asyncio.wait({self._submission}, timeout=left_ms / 1_000)
        if not done:
            raise StsTimeout(f"RunPod did not answer within {left_ms} ms")
        state = self._submission.result()
        self._id = state.job_id
        self._over = state.status.final
        if not state.status.final and not state.job_id:
            raise StsBadAnswer("RunPod took a job without giving it an id")
        return state

    async def poll(self, deadline: Deadline, pace: PollPace) -> JobState:
        """The job's state now; a few failures in a row are borne, the job lives on without us."""
        operation = "status" if self._route is Route.RUNSYNC else "stream"
        try:
            state = await self._ask(operation, deadline)
        except (StsUnavailable, StsRefused, StsTimeout) as failure:
            self._failures_in_a_row += 1
            borne = self._failures_in_a_row <= _POLL_FAILURES_BORNE and deadline.left_ms() > 0
            if not failure.retryable or not borne:
                raise
            pace.refused(failure.retry_after_ms if isinstance(failure, StsRefused) else 0)
            return JobState(JobStatus.IN_PROGRESS)
        self._failures_in_a_row = 0
        self._over = state.status.final
        return state

    async def complete(self, state: JobState, deadline: Deadline) -> JobState:
        """Everything RunPod keeps about a job that is over: `/run` and `/stream` leave out errors and old output."""
        if self._route is Route.RUNSYNC or state.result is not None:
            return state
        return await self._ask("status", deadline)

    async def abandon(self) -> None:
        """Cancel the job at RunPod, as soon as its id is known; never raises."""
        try:
            await asyncio.wait_for(self._cancel(), _CANCEL_BOUND_S)
        except asyncio.TimeoutError:
            logger.warning(
                "a RunPod job could not be cancelled within %.0f s; its TTL ends it", _CANCEL_BOUND_S
            )
        except StsFailure as failure:
            logger.warning("a RunPod job could not be cancelled, its TTL ends it: %s", failure)

    async def _cancel(self) -> None:
        if self._submission is None or self._over:
            return
        try:
            state = await self._submission
        except StsFailure:
            return  # no job came of it
        if state.status.final or not state.job_id:
            return
        answer = await self._http.exchange(
            "POST", f"cancel/{state.job_id}", timeout_ms=int(_CANCEL_BOUND_S * 1_000)
        )
        if failure := http_failure(answer.status_code, answer.retry_after_ms, about_job=True):
            raise failure

    async def _post(self, timeout_ms: int) -> JobState:
        path = "run" if self._route is Route.RUN else f"runsync?wait={RUNSYNC_WAIT_MS}"
        answer = await self._http.exchange(
            "POST",
            path,
            body=self._document,
            timeout_ms=timeout_ms,
            largest_bytes=self._largest_bytes,
        )
        if failure := http_failure(answer.status_code, answer.retry_after_ms, about_job=False):
            raise failure
        return read_job(answer.body)

    async def _ask(self, operation: str, deadline: Deadline) -> JobState:
        left_ms = _left(deadline)
        answer = await self._http.exchange(
            "GET",
            f"{operation}/{self._id}",
            timeout_ms=min(left_ms, _POLL_TIMEOUT_MS),
            largest_bytes=self._largest_bytes,
        )
        if failure := http_failure(answer.status_code, answer.retry_after_ms, about_job=True):
            raise failure
        return read_job(answer.body)


async def _pause(pause_ms: int, deadline: Deadline) -> None:
    await asyncio.sleep(min(pause_ms, _left(deadline)) / 1_000)


def _left(deadline: Deadline) -> int:
    left_ms = deadline.left_ms()
    if left_ms < 1:
        raise StsTimeout("the RunPod job did not end within the deadline")
    return left_ms


def _largest_answer_bytes(request: StsRequest) -> int:
    """The result and, in an aggregate, every partial before it."""
    return 2 * (TEXT_ALLOWANCE_BYTES + len(request.config.targets) * MAX_AUDIO_BASE64_BYTES)
