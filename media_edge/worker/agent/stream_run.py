"""One stream on this host, from its bound lease to the report on how it ended.

Three clocks watch over it, none of which waits for another: beats (renewal and heartbeat, only while the worker gets on),
the fence (nobody confirmed the lease in time, or the worker stands still: it is ended by ourselves), and the agent's
look at the rows (what operators want, and whether somebody else took over).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from livedub.errors import ConfigurationError, InvalidInputError
from livedub.library.live_uploads import Leavings
from livedub.supervision.contract import WorkItem, WorkReport
from livedub.supervision.record import Desired, Phase, StreamRecord
from livedub.supervision.store_errors import StoreUnavailableError
from media_edge.worker.agent.assignment import compare, plain, worker_settings
from media_edge.worker.agent.beats import Beats
from media_edge.worker.agent.binding import Binding
from media_edge.worker.agent.progress_watch import ProgressWatch
from media_edge.worker.agent.reporting import send_report
from media_edge.worker.agent.tools import Tools
from media_edge.worker.agent.worker_end import DrainOrder, report_exit
from media_edge.worker.agent.worker_process import Worker, WorkerStartError

logger = logging.getLogger(__name__)

_STOP_BOUND_S = 2.0
_KILL_BOUND_S = 5.0
_KICK_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a worker is ended by us. Without a report the state machine learns it from whoever fenced us."""

    reason: str
    report: WorkReport | None
    kick: bool


class StreamRun:
    """Runs one generation of one stream."""

    def __init__(self, work: WorkItem, tools: Tools) -> None:
        self.work = work
        self._tools = tools
        self._policy = tools.policy.model_copy(update={"heartbeat_s": work.heartbeat_s})
        self._drain: DrainOrder | None = None
        self._worker: Worker | None = None
        self._beats: Beats | None = None
        self._progress: ProgressWatch | None = None
        self._given: dict[str, Any] = {}
        self._revision = 0
        self._ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._drain_by_s: float | None = None
        self.outcome = ""

    @property
    def stream_id(self) -> str:
        """The stream."""
        return self.work.stream_id

    async def run(self, binding: Binding) -> None:
        """Run the worker until it ends or must end, and report."""
        started_s = _now_s()
        self._revision = binding.record.settings_revision
        self._given = plain(binding.record.settings)
        self._progress = ProgressWatch(started_s, self._tools.start_timeout_s)
        self._beats = Beats(
            self.work,
            self._policy,
            self._tools,
            self._progress,
            binding,
            on_fenced=lambda why: self._end(_fenced(why)),
            on_confirmed=self._grant,
        )
        leavings = (
            self._tools.library.begin(self.stream_id, self.work.generation) if self._tools.library else None
        )
        try:
            report = await self._run_worker(binding, started_s, leavings)
        finally:
            if self._tools.library:
                self._tools.library.end(leavings)
        if report is not None:
            self.outcome = report.outcome
            await self._beats.save_timeline()
            await send_report(self._tools, self.work, self._beats.task_token, report)

    def observe(self, record: StreamRecord | None) -> None:
        """Look at the row as it is now."""
        if self._beats is None:
            return
        lease = record.lease if record is not None else None
        if record is None or lease is None or not self._is_ours(record):
            now = "gone" if lease is None else f"at generation {lease.generation}, {lease.phase.value}"
            self._end(_fenced(f"the row is {now}"))
            return
        self._beats.see_token(lease.task_token)
        if record.desired is not Desired.RUNNING:
            self.drain(DrainOrder(f"{record.desired.value} by an operator", elsewhere=False))
        elif record.settings_revision != self._revision:
            self._follow_settings(record)

    def hand_over(self, services: Mapping[str, str]) -> None:
        """Tell the worker what has become of the services it uses."""
        if self._worker is not None:
            self._worker.send({"command": "services", "services": dict(services)})

    def drain(self, order: DrainOrder) -> None:
        """Let the worker play out and end; the first order counts."""
        if self._drain is not None:
            return
        logger.info("The worker drains: %s.", order.reason)
        self._drain = order
        self._drain_by_s = _now_s() + self._tools.drain_timeout_s
        if self._worker is not None:
            self._worker.send({"command": "drain"})

    def stop(self, order: DrainOrder) -> None:
        """End the worker now, without playing out."""
        self._drain = self._drain or order
        self._drain_by_s = _now_s() + _STOP_BOUND_S
        if self._worker is not None:
            self._worker.send({"command": "stop"})

    async def _run_worker(
        self, binding: Binding, started_s: float, leavings: Leavings | None
    ) -> WorkReport | None:
        """The report, or None when nothing is to be reported."""
        if self._drain is not None:
            return report_exit(0, self._drain)
        try:
            settings = worker_settings(
                binding.record, self.work.generation, binding.token, self._tools.events_dir
            )
            if self._tools.library:
                settings.update(self._tools.library.worker_settings(leavings))
            worker = await self._tools.workers.take()
        except (InvalidInputError, WorkerStartError) as error:
            logger.error("No worker was started: %s", error)
            return WorkReport(outcome="crashed", detail=str(error)[:2_000])
        self._worker = worker
        worker.listen(partial(self._hear, started_s=started_s))
        # Read now: while the worker was awaited, a change had nobody to go to.
        services = dict(self._tools.shared())
        worker.send({"settings": settings, "timeline": binding.record.timeline, "services": services})
        self._grant()
        if self._drain is not None:
            worker.send({"command": "drain"})
        logger.info("Worker %d runs generation %d.", worker.pid, self.work.generation)
        self._tell({"event": "worker_started", "agent_id": self._tools.agent_id, "pid": worker.pid})
        try:
            return await self._supervise(worker, binding)
        finally:
            # Also when we are cancelled: no worker outlives its run.
            worker.kill()
            self._tools.metrics.forget_worker(self.stream_id)

    async def _supervise(self, worker: Worker, binding: Binding) -> WorkReport | None:
        beats = self._beats
        assert beats is not None  # noqa: S101 - set by run
        end = asyncio.create_task(worker.wait(), name=f"{self.stream_id} worker")
        beating = asyncio.create_task(beats.run(), name=f"{self.stream_id} beats")
        fence = asyncio.create_task(self._watch_clocks(), name=f"{self.stream_id} fence")
        try:
            await asyncio.wait({end, self._ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            beating.cancel()
            fence.cancel()
        if not self._ending.done():
            code = end.result()
            logger.info("The worker ended with code %d.", code)
            report = report_exit(code, self._drain)
            self._tell({"event": "worker_ended", "exit_code": code, "outcome": report.outcome, "reason": ""})
            return report
        ending = self._ending.result()
        worker.kill()
        logger.error("The worker is ended: %s.", ending.reason)
        if ending.kick:
            await self._kick(binding)
        await asyncio.wait({end}, timeout=_KILL_BOUND_S)
        end.cancel()
        self.outcome = "fenced" if ending.report is None else ending.report.outcome
        self._tell(
            {"event": "worker_ended", "exit_code": None, "outcome": self.outcome, "reason": ending.reason}
        )
        return ending.report

    def _grant(self) -> None:
        """Tell the worker how long it may go on without hearing from us: a frozen agent cannot end it."""
        if self._worker is not None and self._beats is not None:
            valid_s = self._beats.fence.worker_deadline_s - _now_s()
            self._worker.send({"command": "lease", "valid_ms": max(0, round(valid_s * 1_000))})

    def _end(self, ending: Ending) -> None:
        if not self._ending.done():
            self._ending.set_result(ending)
            # At once, in this very step: a fenced worker has no time left.
            if self._worker is not None:
                self._worker.kill()

    async def _watch_clocks(self) -> None:
        beats, progress = self._beats, self._progress
        assert beats is not None  # noqa: S101 - set by run
        assert progress is not None  # noqa: S101 - set by run
        while True:
            now_s = _now_s()
            moved_s = progress.moved_at_s(now_s)
            stuck_s = moved_s + self.work.heartbeat_s
            fence_s = beats.fence.deadline_s
            if self._drain_by_s is not None and now_s >= self._drain_by_s:
                self._end(self._overdue())
                return
            if now_s >= min(fence_s, stuck_s):
                # Without progress there are no beats, so the fence falls too: that is the worker's fault, not the network's.
                idle = now_s >= stuck_s or moved_s <= beats.confirmed_at_s
                self._end(_stuck(now_s - moved_s) if idle else _cut_off(self.work.heartbeat_s))
                return
            due_s = min(fence_s, stuck_s, self._drain_by_s or fence_s)
            await asyncio.sleep(min(max(due_s - now_s, 0.01), 0.25))

    def _overdue(self) -> Ending:
        order = self._drain or DrainOrder("drained", elsewhere=False)
        report = WorkReport(
            outcome="drained", detail=f"{order.reason}; it did not end in time", host_draining=order.elsewhere
        )
        return Ending("it did not play out in time", report, kick=False)

    def _hear(self, event: Mapping[str, Any], *, started_s: float) -> None:
        beats, progress, now_s = self._beats, self._progress, _now_s()
        if beats is None or progress is None:
            return
        if progress.state == "" and event.get("event") == "state":
            self._tools.metrics.start_time.observe(now_s - started_s)
            logger.info("The worker has started after %.2f s.", now_s - started_s)
        progress.hear(event, now_s)
        self._tell(event)
        self._tools.metrics.observe_worker(self.stream_id, event)
        origin = event.get("origin")
        if event.get("event") == "timeline" and isinstance(origin, dict):
            beats.keep_timeline({str(name): int(value) for name, value in origin.items()})
        elif event.get("event") == "settings_refused":
            logger.error("The worker refused new settings: %s", event.get("problem"))

    def _tell(self, event: Mapping[str, Any]) -> None:
        self._tools.tell({**event, "stream_id": self.stream_id, "generation": self.work.generation})

    def _follow_settings(self, record: StreamRecord) -> None:
        self._revision = record.settings_revision
        try:
            change = compare(self._given, record)
        except ConfigurationError as error:
            logger.error("Settings revision %d cannot be used: %s", record.settings_revision, error)
            return
        if change.cold:
            reason = f"restart for settings revision {record.settings_revision} ({', '.join(change.cold)})"
            self.drain(DrainOrder(reason, elsewhere=True))
            return
        self._given = plain(record.settings)
        if change.hot and self._worker is not None:
            self._worker.send({"command": "settings", "settings": dict(change.hot)})

    def _is_ours(self, record: StreamRecord) -> bool:
        lease = record.lease
        held = lease.generation == self.work.generation and lease.agent_id == self._tools.agent_id
        return held and lease.phase is Phase.RUNNING

    async def _kick(self, binding: Binding) -> None:
        """Tell the media server: what the dead worker had sent already may still lie in its sockets.

        One call ends the outputs of every language: the relay knows what came with the token.
        """
        media = binding.record.media
        if media is None or not media.kick_url:
            return
        path = f"live/{self.stream_id}/out"
        kick: Callable[[], None] = partial(self._tools.kicker.kick, media.kick_url, path, binding.token.value)
        for _ in range(_KICK_ATTEMPTS):
            try:
                await self._tools.calls(f"kicking {path}", kick, self._tools.call_timeout_s)
            except StoreUnavailableError as error:  # noqa: PERF203 - each try is a call
                logger.warning("The media server was not told: %s", error)
            else:
                return


def _fenced(why: str) -> Ending:
    return Ending(f"fenced: {why}", None, kick=True)


def _stuck(still_s: float) -> Ending:
    reason = f"it has made no progress for {still_s:.1f} s"
    return Ending(reason, WorkReport(outcome="crashed", detail=reason), kick=True)


def _cut_off(heartbeat_s: int) -> Ending:
    reason = f"the lease of {heartbeat_s} s could not be renewed in time"
    return Ending(reason, WorkReport(outcome="fenced", detail=reason), kick=True)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
