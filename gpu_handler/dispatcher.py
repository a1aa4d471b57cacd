"""Between a transport and the pipeline: readiness, a bounded queue, deadlines, cancellation. Knows no HTTP."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from gpu_handler.request_check import RequestRefusedError, check_languages, refused
from gpu_handler.service_metrics import ServiceMetrics
from livedub.observability import log_context
from livedub.sts.contract import (
    ErrorCode,
    Health,
    PartialKind,
    Stage,
    Status,
    StsError,
    StsPartial,
    StsRequest,
    StsResult,
)

logger = logging.getLogger(__name__)

OnPartial = Callable[[StsPartial], Awaitable[None]]

_NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000
_UNWIND_S = 1.0


class FragmentPipeline(Protocol):
    """What the dispatcher needs of the pipeline."""

    def load(self) -> None:
        """Load and warm up every model; blocks for seconds."""
        ...

    def health(self) -> Health:
        """Models and language pairs."""
        ...

    async def process(
        self, request: StsRequest, on_partial: OnPartial | None = None, *, received_s: float | None = None
    ) -> StsResult:
        """Dub one fragment that came in at `received_s` (`time.monotonic`); safe to cancel."""
        ...

    def close(self) -> None:
        """Stop the engines; may block."""
        ...


class Dispatcher:
    """Runs fragments through the pipeline: `max_concurrency` at once, `queue_size` waiting, no more.

    A fragment has its answer by its deadline, which counts from its receipt. Work whose answer nobody awaits any
    more is cancelled.
    """

    def __init__(
        self,
        pipeline: FragmentPipeline,
        *,
        max_concurrency: int,
        queue_size: int,
        metrics: ServiceMetrics,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.clock_ns = clock_ns
        self.metrics = metrics
        self._pipeline = pipeline
        self._most = max_concurrency + queue_size
        self._slots = asyncio.Semaphore(max_concurrency)
        self._running = 0
        self._work: set[asyncio.Task[StsResult]] = set()
        self._health = Health(ready=False, detail="models are loading")

    @property
    def health(self) -> Health:
        """Whether fragments are accepted, and what can be done with them.

        Ready services ask the pipeline again: an engine may have got stuck.
        """
        return self._pipeline.health() if self._health.ready else self._health

    async def load(self) -> None:
        """Load the models in a thread; until then every fragment is refused.

        Raises:
            LivedubError: a model or program is missing; `health` says so too.
        """
        started_ns = self.clock_ns()
        try:
            await asyncio.to_thread(self._pipeline.load)
        except Exception as error:
            self._health = Health(ready=False, detail=f"loading failed: {error}")
            raise
        self._health = self._pipeline.health()
        self.metrics.ready(ready=self._health.ready)
        logger.info("models loaded in %.1f s", (self.clock_ns() - started_ns) / _NS_PER_S)

    async def close(self) -> None:
        """Refuse new fragments, cancel those under way and close the pipeline."""
        self._health = Health(ready=False, detail="shutting down")
        self.metrics.ready(ready=False)
        for task in self._work:
            task.cancel()
        if self._work:
            await asyncio.wait(self._work, timeout=_UNWIND_S)
        await asyncio.to_thread(self._pipeline.close)

    def refuse_unread(self) -> None:
        """Refuse before the body is read where no fragment at all could be accepted.

        Raises:
            RequestRefusedError: QUEUE_FULL.
        """
        if len(self._work) >= self._most:
            waiting = len(self._work) - self._running
            raise refused(
                ErrorCode.QUEUE_FULL,
                f"{self._running} fragments are being worked on and {waiting} wait. Try again later.",
                stage=Stage.QUEUE,
                retryable=True,
            )

    def refuse(self, request: StsRequest) -> None:
        """Refuse what needs no work to be refused.

        Raises:
            RequestRefusedError: UNSUPPORTED_LANGUAGE or QUEUE_FULL.
        """
        check_languages(request, self.health.languages)
        self.refuse_unread()

    async def run(
        self, request: StsRequest, *, received_ns: int, on_partial: OnPartial | None = None
    ) -> StsResult:
        """The answer to a request, in time; what goes wrong is a result with status error."""
        with log_context(
            stream_id=request.stream_id, generation=request.generation, fragment_id=request.fragment_id
        ):
            result = await self._in_time(request, received_ns, on_partial)
            self._record(request, result, received_ns)
            return result

    async def _in_time(
        self, request: StsRequest, received_ns: int, on_partial: OnPartial | None
    ) -> StsResult:
        left_ms = self._left_ms(request, received_ns)
        if left_ms < 1:
            return _late(request, Stage.QUEUE)
        try:
            self.refuse_unread()
        except RequestRefusedError as refusal:
            return failed(request.fragment_id, refusal.error)
        progress = _Progress(on_partial)
        work = asyncio.create_task(
            self._in_slot(request, received_ns, progress), name=f"sts {request.fragment_id}"
        )
        self._work.add(work)
        work.add_done_callback(self._forget)
        self._show_load()
        try:
            await asyncio.wait({work}, timeout=left_ms / 1_000)
            return _result_of(work, request) if work.done() else _late(request, progress.stage)
        finally:
            work.cancel()

    async def _in_slot(self, request: StsRequest, received_ns: int, progress: _Progress) -> StsResult:
        async with self._slots:
            if self._left_ms(request, received_ns) < 1:
                return _late(request, Stage.QUEUE)
            progress.stage = Stage.ASR
            self._running += 1
            self._show_load()
            try:
                return await self._pipeline.process(
                    request, progress.report, received_s=received_ns / _NS_PER_S
                )
            finally:
                self._running -= 1

    def _left_ms(self, request: StsRequest, received_ns: int) -> int:
        return request.deadline_ms - (self.clock_ns() - received_ns) // _NS_PER_MS

    def _forget(self, work: asyncio.Task[StsResult]) -> None:
        self._work.discard(work)
        self._show_load()

    def _show_load(self) -> None:
        self.metrics.load(waiting=len(self._work) - self._running, running=self._running)

    def _record(self, request: StsRequest, result: StsResult, received_ns: int) -> None:
        took_ms = (self.clock_ns() - received_ns) / _NS_PER_MS
        self.metrics.answered(result, took_s=took_ms / 1_000, audio_ms=request.audio.duration_ms)
        timings = result.stage_timings.model_dump()
        if result.error is None:
            logger.info("fragment dubbed in %.0f ms", took_ms, extra={"stage_timings": timings})
        else:
            error = result.error
            logger.warning(
                "fragment failed after %.0f ms: %s in %s: %s",
                took_ms,
                error.code.value,
                error.stage.value,
                error.message,
                extra={"stage_timings": timings},
            )


class _Progress:
    """Passes partials on and tells from them how far a fragment has come."""

    def __init__(self, on_partial: OnPartial | None) -> None:
        self.stage = Stage.QUEUE
        self._on_partial = on_partial

    async def report(self, partial: StsPartial) -> None:
        if partial.kind is PartialKind.TEXT:
            self.stage = Stage.TTS
        if self._on_partial is not None:
            await self._on_partial(partial)


def failed(fragment_id: str, error: StsError) -> StsResult:
    """The result that carries nothing but `error`."""
    return StsResult(fragment_id=fragment_id, status=Status.ERROR, error=error)


def _late(request: StsRequest, stage: Stage) -> StsResult:
    message = f"deadline_ms ({request.deadline_ms}) passed in stage {stage.value}."
    return failed(
        request.fragment_id, StsError(stage=stage, code=ErrorCode.TIMEOUT, message=message, retryable=True)
    )


def _result_of(work: asyncio.Task[StsResult], request: StsRequest) -> StsResult:
    """What the pipeline returned; an exception of its own is a bug, which costs this fragment only."""
    if work.cancelled():
        message = "the service is shutting down."
    elif error := work.exception():
        logger.error("the pipeline failed", exc_info=error)
        message = f"the pipeline failed with {type(error).__name__}; the service's log says more."
    else:
        return work.result()
    return failed(
        request.fragment_id,
        StsError(stage=Stage.ASR, code=ErrorCode.MODEL_ERROR, message=message, retryable=True),
    )
