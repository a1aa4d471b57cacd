"""Where workers come from: a spare one that has loaded everything already, or a fresh one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from media_edge.worker.agent.worker_process import Worker, WorkerProcess, WorkerStartError

logger = logging.getLogger(__name__)

_REFILL_PAUSE_S = 5.0
"""A worker that has just got its stream needs the processor more than the next spare does."""
_RETRY_PAUSE_S = 15.0
_LOOK_S = 0.1

StartWorker = Callable[[], Awaitable[WorkerProcess]]


class Workers(Protocol):
    """Gives workers that wait for their first line."""

    async def take(self) -> Worker:
        """One worker, not given to anybody before.

        Raises:
            WorkerStartError: none can be started.
        """
        ...


class WorkerPool:
    """Keeps at most one spare worker."""

    def __init__(
        self, start: StartWorker, *, keep_spare: bool, refill_pause_s: float = _REFILL_PAUSE_S
    ) -> None:
        self._start = start
        self._keep_spare = keep_spare
        self._refill_pause_s = refill_pause_s
        self._spare: WorkerProcess | None = None
        self._taken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Keep a spare from now on."""
        if self._keep_spare:
            self._task = asyncio.create_task(self._keep(), name="warm spare")

    @property
    def warm(self) -> bool:
        """Whether a loaded worker is at hand."""
        return self._spare is not None and self._spare.alive and self._spare.ready.is_set()

    async def until_warm(self) -> None:
        """Wait until a loaded worker is at hand; at once where no spare is kept."""
        while self._keep_spare and not self.warm:  # noqa: ASYNC110 - a spare may die and be replaced meanwhile
            await asyncio.sleep(_LOOK_S)

    async def take(self) -> Worker:
        """The spare, even if it is still loading: it is further than a fresh one would be."""
        spare, self._spare = self._spare, None
        self._taken.set()
        if spare is not None and spare.alive:
            return spare
        return await self._start()

    async def aclose(self) -> None:
        """End the spare."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        spare, self._spare = self._spare, None
        if spare is not None:
            await spare.aclose()

    async def _keep(self) -> None:
        while True:
            try:
                self._spare = await self._start()
            except WorkerStartError as error:
                logger.error("No spare worker: %s", error)
                await asyncio.sleep(_RETRY_PAUSE_S)
                continue
            # Only now: whoever came while it was starting got another one.
            self._taken.clear()
            await self._watch(self._spare)

    async def _watch(self, spare: WorkerProcess) -> None:
        """Return when another spare is due."""
        end = asyncio.create_task(spare.wait())
        taken = asyncio.create_task(self._taken.wait())
        try:
            await asyncio.wait({end, taken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            end.cancel()
            taken.cancel()
        if self._spare is spare:
            self._spare = None
            logger.warning("The spare worker ended by itself; the next one starts in %.0f s.", _RETRY_PAUSE_S)
            await asyncio.sleep(_RETRY_PAUSE_S)
        else:
            await asyncio.sleep(self._refill_pause_s)
