"""RunPod jobs through the dispatcher: a job's `input` is an `StsRequest`. Knows no SDK.

A job yields its partials (`StsPartial`, they have `kind`) and last `{"status": ..., "result": <StsResult>}`. The
result is wrapped because the SDK takes a yielded object with an `error` for the failure of the whole job: it would
replace the result by a text. An error of ours is a result, which RunPod must not run again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from gpu_handler.device_faults import suspects_broken_device
from gpu_handler.dispatcher import Dispatcher, failed
from gpu_handler.request_check import RequestRefusedError, parse_request, refused
from livedub.sts.contract import ErrorCode, Stage, StsError, StsPartial, StsRequest, StsResult

logger = logging.getLogger(__name__)

Element = dict[str, Any]
Job = Mapping[str, Any]
Handler = Callable[[Job], AsyncIterator[Element]]

_SYNCHRONOUS_PREFIX = "sync-"
_LARGEST_PARTIAL_BASE64_BYTES = 900_000
"""RunPod refuses a streamed element over 1 MB; the same audio comes again in the result."""


class JobHandler:
    """Answers jobs; `replace_worker` is told why when nothing but a new process can work again."""

    def __init__(self, dispatcher: Dispatcher, *, replace_worker: Callable[[str], None]) -> None:
        self._dispatcher = dispatcher
        self._replace_worker = replace_worker

    async def handle(self, job: Job) -> AsyncIterator[Element]:
        """Dub the fragment in a job. Its deadline counts from now: RunPod does not say how long the job has waited.

        Whoever stops iterating, RunPod's cancellation for one, stops the work and frees its slot.
        """
        received_ns = self._dispatcher.clock_ns()
        logger.debug("job %s is in hand", job.get("id"))
        try:
            request = self._accept(job)
        except RequestRefusedError as refusal:
            result = failed(refusal.fragment_id, refusal.error)
            self._dispatcher.metrics.refused(result)
            logger.warning("job %s refused: %s", job.get("id"), refusal)
            yield _last(result)
            return
        partials: asyncio.Queue[StsPartial | None] = asyncio.Queue()
        work = asyncio.create_task(
            self._dispatcher.run(
                request,
                received_ns=received_ns,
                # Nobody can read the stream of a job whose caller waits for the whole.
                on_partial=None if _is_synchronous(job) else partials.put,
            ),
            name=f"job {job.get('id')}",
        )
        work.add_done_callback(lambda _: partials.put_nowait(None))
        answered = False
        try:
            while (partial := await partials.get()) is not None:
                if _fits(partial):
                    yield partial.model_dump(mode="json")
            result = self._result_of(work, request)
            answered = True
            yield _last(result)
        finally:
            work.cancel()
            if not answered:
                self._dispatcher.metrics.cancelled()
                logger.info("job %s was stopped before its answer", job.get("id"))

    def _accept(self, job: Job) -> StsRequest:
        """The request, fit to be worked on.

        Raises:
            RequestRefusedError: it is not, or the worker is not able to.
        """
        # The body as it was sent: one check for both transports, with the same messages.
        request = parse_request(json.dumps(job.get("input")).encode())
        try:
            health = self._dispatcher.health
            if not health.ready:
                # Jobs are taken only once everything is loaded: an engine must be stuck.
                self._replace_worker(health.detail)
                raise refused(ErrorCode.MODEL_ERROR, f"{health.detail}. Try again later.", retryable=True)
            self._dispatcher.refuse(request)
        except RequestRefusedError as refusal:
            refusal.fragment_id = request.fragment_id
            raise
        return request

    def _result_of(self, work: asyncio.Task[StsResult], request: StsRequest) -> StsResult:
        try:
            result = work.result()
        except Exception as error:
            logger.exception("the dispatcher failed")
            message = f"the worker failed with {type(error).__name__}; its log says more."
            return failed(
                request.fragment_id,
                StsError(stage=Stage.INPUT, code=ErrorCode.MODEL_ERROR, message=message, retryable=True),
            )
        error = result.error
        if error is not None and suspects_broken_device(error.message):
            self._replace_worker(error.message)
        return result


def refuse_all(cause: str) -> Handler:
    """A handler of a worker that cannot work, and that a restart would not mend: each job is told why."""

    async def handle(job: Job) -> AsyncIterator[Element]:
        try:
            fragment_id = parse_request(json.dumps(job.get("input")).encode()).fragment_id
        except RequestRefusedError as refusal:
            fragment_id = refusal.fragment_id
        message = f"this worker cannot work: {cause}"
        yield _last(
            failed(
                fragment_id,
                StsError(stage=Stage.INPUT, code=ErrorCode.MODEL_ERROR, message=message, retryable=False),
            )
        )

    return handle


def _is_synchronous(job: Job) -> bool:
    return str(job.get("id", "")).startswith(_SYNCHRONOUS_PREFIX)


def _fits(partial: StsPartial) -> bool:
    audio_bytes = sum(len(dub.audio.data_base64) for dub in partial.dubs if dub.audio is not None)
    return audio_bytes <= _LARGEST_PARTIAL_BASE64_BYTES


def _last(result: StsResult) -> Element:
    return {"status": result.status.value, "result": result.model_dump(mode="json")}
