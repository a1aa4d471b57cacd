"""Renewals and heartbeats of one stream, sent only while its worker gets on.

First the row, then Step Functions: the lease must never end before the state machine has given us up, and a beat counts
from the moment its first call began.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial

from livedub.errors import LivedubError
from livedub.supervision.contract import WorkItem
from livedub.supervision.lease import LeaseRefusedError, renew
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import StreamRecord
from livedub.supervision.store_errors import StoreUnavailableError
from media_edge.worker.agent.binding import Binding
from media_edge.worker.agent.fence_clock import FenceClock
from media_edge.worker.agent.ports import TokenRefusedError
from media_edge.worker.agent.progress_watch import ProgressWatch
from media_edge.worker.agent.tools import Tools

logger = logging.getLogger(__name__)

_BEATS_PER_HEARTBEAT = 3
_RETRY_S = 0.5


class Beats:
    """Keeps one lease. `on_fenced` is called, with the reason, as soon as it is lost; `on_confirmed` with each beat."""

    def __init__(
        self,
        work: WorkItem,
        policy: SupervisionPolicy,
        tools: Tools,
        progress: ProgressWatch,
        binding: Binding,
        on_fenced: Callable[[str], None],
        on_confirmed: Callable[[], None],
    ) -> None:
        self._work = work
        self._policy = policy
        self._tools = tools
        self._progress = progress
        self._on_fenced = on_fenced
        self._on_confirmed = on_confirmed
        self._period_s = work.heartbeat_s / _BEATS_PER_HEARTBEAT
        self._timeout_s = min(tools.call_timeout_s, self._period_s)
        self._timeline: Mapping[str, int] | None = binding.record.timeline
        self._stored_timeline = self._timeline
        self._wake = asyncio.Event()
        self._refused_token = ""
        self._refused_at_s = 0.0
        self.task_token = binding.record.lease.task_token
        self.confirmed_at_s = binding.confirmed_at_s
        self.fence = FenceClock(work.heartbeat_s, binding.confirmed_at_s)

    def see_token(self, token: str) -> None:
        """The row's task token as somebody has just read it: after a roll-over it is another one."""
        if token and token not in {self.task_token, self._refused_token}:
            logger.info("Another execution supervises the worker from now on.")
            self.task_token = token
            self._wake.set()

    def keep_timeline(self, origin: Mapping[str, int]) -> None:
        """Write it with the next beat; at once where the stream's timestamps hang on it."""
        moved = self._timeline is None or _place(origin) != _place(self._timeline)
        self._timeline = origin
        if moved:
            self._progress.moved(_now_s())
            self._wake.set()

    async def run(self) -> None:
        """Beat until cancelled, or until the lease is lost."""
        started_s = -1.0  # the first beat needs no progress: the worker is only starting
        while True:
            self._wake.clear()
            pause_s = self._tools.jitter(self._period_s)
            if self._progress.moved_at_s(_now_s()) > started_s:
                began_s = _now_s()
                if await self._beat(began_s):
                    started_s = began_s
                else:
                    pause_s = min(_RETRY_S, pause_s)
            else:
                self._tools.metrics.beats.labels(result="no_progress").inc()
                pause_s = min(_RETRY_S, pause_s)
            try:
                await asyncio.wait_for(self._wake.wait(), pause_s)
            except asyncio.TimeoutError:
                continue

    async def save_timeline(self) -> None:
        """Write the newest timeline, if the row lacks it; once, because the stream's end does not wait for it."""
        if self._timeline is None or self._stored_timeline == self._timeline:
            return
        try:
            await self._renew()
        except LivedubError as error:
            logger.warning("The last timeline was not written: %s", error)

    async def _beat(self, began_s: float) -> bool:
        """Renew and send a heartbeat; False when it has to be tried again soon."""
        try:
            record = await self._renew()
        except LeaseRefusedError as refusal:
            self._tools.metrics.beats.labels(result="refused").inc()
            self._on_fenced(str(refusal))
            return False
        except LivedubError as error:
            self._tools.metrics.beats.labels(result="unavailable").inc()
            logger.warning("The lease was not renewed: %s", error)
            return False
        if record is not None:
            self.see_token(record.lease.task_token)
        return await self._heartbeat(began_s)

    async def _renew(self) -> StreamRecord | None:
        timeline, now_ms = self._timeline, self._tools.now_ms()

        def rule(record: StreamRecord | None) -> StreamRecord:
            if record is None:
                raise LeaseRefusedError("unknown", f"There is no row for {self._work.stream_id}.")
            return renew(
                record,
                generation=self._work.generation,
                agent_id=self._tools.agent_id,
                now_ms=now_ms,
                policy=self._policy,
                timeline=timeline,
            )

        update = partial(self._tools.store.update, self._work.stream_id, rule)
        record = await self._tools.calls(f"Renewing {self._work.stream_id}", update, self._timeout_s)
        self._stored_timeline = timeline
        return record

    async def _heartbeat(self, began_s: float) -> bool:
        token = self.task_token
        if token == self._refused_token:
            return self._await_token(began_s)
        try:
            beat = partial(self._tools.tokens.heartbeat, token)
            await self._tools.calls(f"Heartbeat of {self._work.stream_id}", beat, self._timeout_s)
        except TokenRefusedError:
            if self.task_token != token:
                return False  # the row was read meanwhile and has a new one
            self._refused_token, self._refused_at_s = token, _now_s()
            self._tools.metrics.beats.labels(result="token_refused").inc()
            return self._await_token(began_s)
        except StoreUnavailableError as error:
            self._tools.metrics.beats.labels(result="unavailable").inc()
            logger.warning("No heartbeat: %s", error)
            return False
        self._confirm(began_s)
        return True

    def _await_token(self, began_s: float) -> bool:
        """Our token is dead but the row is ours: an execution that rolls over is about to write another one."""
        if _now_s() - self._refused_at_s > self._work.heartbeat_s:
            self._on_fenced("the task is over, and no other one has taken its place")
        else:
            self._confirm(began_s)
        return False

    def _confirm(self, began_s: float) -> None:
        self.confirmed_at_s = began_s
        self.fence.confirm(began_s)
        self._on_confirmed()
        self._tools.metrics.beats.labels(result="confirmed").inc()


def _place(origin: Mapping[str, int]) -> tuple[int | None, int | None]:
    return origin.get("media_offset_ns"), origin.get("delay_ms")


def _now_s() -> float:
    return asyncio.get_running_loop().time()
