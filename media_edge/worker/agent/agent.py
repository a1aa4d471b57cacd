"""The agent: takes work while it has free slots, watches its streams' rows, and lets go of everything in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial

from pydantic import ValidationError

from livedub.observability import log_context
from livedub.supervision.contract import WorkClaim, WorkItem, WorkMessage
from livedub.supervision.record import StreamRecord
from livedub.supervision.store_errors import StoreBusyError, StoreUnavailableError
from media_edge.worker.agent.binding import NotBoundError, bind_stream
from media_edge.worker.agent.load_client import HostLoad
from media_edge.worker.agent.ports import QueuedMessage, TokenRefusedError, WorkQueue
from media_edge.worker.agent.stream_run import StreamRun
from media_edge.worker.agent.tools import Tools
from media_edge.worker.agent.worker_end import DrainOrder

logger = logging.getLogger(__name__)

_MOST_MESSAGES = 10
"""Of one ReceiveMessage."""
_WATCH_PERIOD_S = 1.0
_RETRY_S = 1.0
_CLAIM_ATTEMPTS = 3
_CLAIM_PAUSE_S = 0.3
_END_MARGIN_S = 15.0
"""Beyond the drain itself: killing, reporting and returning messages."""


class Agent:
    """Owns the slots of one host. `run` returns once it was told to drain and every stream was let go."""

    def __init__(self, queue: WorkQueue, tools: Tools, *, slots: int, poll_wait_s: int) -> None:
        self._queue = queue
        self._tools = tools
        self._slots = slots
        self._poll_wait_s = poll_wait_s
        self._runs: dict[asyncio.Task[None], StreamRun | None] = {}
        self._changed = asyncio.Event()
        self._order: DrainOrder | None = None
        tools.metrics.slots.set(slots)

    @property
    def used(self) -> int:
        """Slots that are taken."""
        return len(self._runs)

    @property
    def draining(self) -> bool:
        """Whether the host lets go of its streams."""
        return self._order is not None

    def drain(self, reason: str) -> None:
        """Take no more work; running streams play out here and go on elsewhere. Asked again, they end now."""
        if self._order is not None:
            return
        logger.warning("This host drains (%s): %d streams go on elsewhere.", reason, self.used)
        self._order = DrainOrder(reason, elsewhere=True)
        self._tools.metrics.draining.set(1)
        self._changed.set()
        for run in self._runs.values():
            if run is not None:
                run.drain(self._order)

    def stop(self, reason: str) -> None:
        """End everything now; streams go on elsewhere."""
        self.drain(reason)
        for run in self._runs.values():
            if run is not None and self._order is not None:
                run.stop(self._order)

    @property
    def load(self) -> HostLoad:
        """How busy this host is."""
        return HostLoad(self._slots, self.used, self.draining)

    def hand_over(self, services: Mapping[str, str]) -> None:
        """Tell every running worker what has become of the services it uses."""
        for run in self._runs.values():
            if run is not None:
                run.hand_over(services)

    async def run(self) -> None:
        """Work until drained."""
        watch = asyncio.create_task(self._watch(), name="rows")
        intake = asyncio.create_task(self._take_work(), name="intake")
        try:
            # Intake ends with the drain, and gives back what its last look into the queue still brought.
            await intake
            if self._runs:
                await asyncio.wait(set(self._runs), timeout=self._tools.drain_timeout_s + _END_MARGIN_S)
        finally:
            tasks = {watch, intake, *self._runs}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _take_work(self) -> None:
        while not self.draining:
            free = self._slots - self.used
            if free <= 0:
                self._changed.clear()
                await self._changed.wait()
                continue
            for message in await self._poll(min(free, _MOST_MESSAGES)):
                if self.draining:
                    await self._settle(partial(self._queue.give_back, message), "Giving a message back")
                else:
                    self._accept(message)

    async def _poll(self, count: int) -> list[QueuedMessage]:
        receive = partial(self._queue.receive, count, self._poll_wait_s)
        try:
            return await self._tools.calls(
                "Asking for work", receive, self._poll_wait_s + self._tools.call_timeout_s
            )
        except StoreUnavailableError as error:
            logger.warning("The queue does not answer: %s", error)
        except Exception:
            # Whatever it is, the streams that run shall not end with it.
            logger.exception("Asking for work failed.")
        await asyncio.sleep(_RETRY_S)
        return []

    def _accept(self, message: QueuedMessage) -> None:
        try:
            work = WorkMessage.model_validate_json(message.body)
        except ValidationError as error:
            # Left where it is: the queue moves it to the dead letters, where somebody can look at it.
            problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            logger.error("A message is no work item (%s); it goes to the dead letters.", problems)
            self._tools.metrics.claims.labels(result="malformed").inc()
            return
        with log_context(stream_id=work.work.stream_id, generation=work.work.generation):
            task = asyncio.create_task(self._serve(message, work), name=f"stream {work.work.stream_id}")
        self._runs[task] = None
        self._tools.metrics.used.set(self.used)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        run = self._runs.pop(task, None)
        self._tools.metrics.used.set(self.used)
        self._changed.set()
        if run is not None and run.outcome:
            self._tools.metrics.ends.labels(outcome=run.outcome).inc()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("A stream's supervision failed.", exc_info=error)

    async def _serve(self, message: QueuedMessage, work: WorkMessage) -> None:
        claimed = await self._claim(work)
        if claimed is None:
            await self._settle(partial(self._queue.give_back, message), "Giving a message back")
            return
        deleting = asyncio.create_task(
            self._settle(partial(self._queue.delete, message), "Deleting a message")
        )
        try:
            if claimed:
                await self._run_stream(work.work)
        finally:
            await deleting

    async def _run_stream(self, work: WorkItem) -> None:
        run = StreamRun(work, self._tools)
        task = asyncio.current_task()
        if task is not None:
            self._runs[task] = run
        if self._order is not None:
            run.drain(self._order)
        policy = self._tools.policy.model_copy(update={"heartbeat_s": work.heartbeat_s})
        try:
            binding = await bind_stream(work, policy, self._tools)
        except NotBoundError as error:
            logger.warning("Nothing is started: %s", error)
            self._tools.metrics.claims.labels(result="not_bound").inc()
            return
        self._tools.metrics.claims.labels(result="bound").inc()
        await run.run(binding)

    async def _claim(self, work: WorkMessage) -> bool | None:
        """Whether the work is ours; None when nobody could say.

        A refusal after a call whose answer got lost may be our own doing: the row, which only one agent can claim,
        decides then.
        """
        unanswered = False
        for _ in range(_CLAIM_ATTEMPTS):
            claim = partial(
                self._tools.tokens.succeed, work.claim_token, WorkClaim(agent_id=self._tools.agent_id)
            )
            try:
                await self._tools.calls("Claiming work", claim, self._tools.call_timeout_s)
            except TokenRefusedError:
                if not unanswered:
                    logger.info("The work is taken or outdated: nothing is started.")
                    self._tools.metrics.claims.labels(result="refused").inc()
                return unanswered
            except StoreUnavailableError as error:
                logger.warning("The work could not be claimed: %s", error)
                unanswered = True
                await asyncio.sleep(_CLAIM_PAUSE_S)
            else:
                return True
        self._tools.metrics.claims.labels(result="unanswered").inc()
        return None

    async def _settle(self, call: Callable[[], None], doing: str) -> None:
        """A call whose failure only means that the message comes again, which is harmless."""
        try:
            await self._tools.calls(doing, call, self._tools.call_timeout_s)
        except StoreUnavailableError as error:
            logger.warning("%s failed, it will come again: %s", doing, error)

    async def _watch(self) -> None:
        """Look at the rows of all streams, every second."""
        while True:
            await asyncio.sleep(_WATCH_PERIOD_S)
            runs = [run for run in self._runs.values() if run is not None]
            if not runs:
                continue
            names = sorted({run.stream_id for run in runs})
            try:
                load = partial(self._tools.store.load_many, names)
                records = await self._tools.calls("Reading rows", load, self._tools.call_timeout_s)
            except (StoreUnavailableError, StoreBusyError) as error:
                logger.warning("The rows cannot be read: %s", error)
                continue
            except Exception:
                logger.exception("Looking at the rows failed.")
                continue
            self._observe(runs, {record.stream_id: record for record in records})

    def _observe(self, runs: list[StreamRun], rows: dict[str, StreamRecord]) -> None:
        for run in runs:
            with log_context(stream_id=run.stream_id, generation=run.work.generation):
                run.observe(rows.get(run.stream_id))
