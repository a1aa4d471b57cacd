"""What the Lambda handlers do, in terms of the rules: read, decide, write, start executions."""

from __future__ import annotations

from typing import Any

from livedub.supervision import desire, stream_settings
from livedub.supervision.authorize import AuthorizationError
from livedub.supervision.contract import (
    MediaAuthorization,
    MediaPermit,
    PathReport,
    SourceHook,
    WorkItem,
)
from livedub.supervision.hooks import HookResult, new_stream
from livedub.supervision.lease import LeaseRefusedError
from livedub.supervision.naming import next_execution_name
from livedub.supervision.outcomes import Verdict, release_reason
from livedub.supervision.paths import parse_path
from livedub.supervision.reconcile import Start, published_streams
from livedub.supervision.record import Outcome, Phase, StreamRecord
from tests.unit.supervision.simulation.kernel import Host, Process
from tests.unit.supervision.simulation.machine import Execution, Machine
from tests.unit.supervision.simulation.world import LambdaDownError, StoreDownError, World

_NO_RECORD = "a record that must exist is missing"


class Functions:
    """Each call runs on a fresh host, whose clock is off and which may die at any step."""

    def __init__(self, world: World, machine: Machine) -> None:
        self._world = world
        self._machine = machine
        self.reports: dict[str, PathReport] = {}
        machine.invoke = self.invoke
        machine.watched = self.watch

    def invoke(self, name: str, payload: dict[str, Any]) -> Process:
        handler = {
            "${AcquireLeaseArn}": self._acquire,
            "${ClassifyOutcomeArn}": self._classify,
            "${ReleaseLeaseArn}": self._release,
        }[name]
        return handler(self._host(), **payload)

    def watch(self, execution: Execution) -> None:
        """The event of an execution that ended badly; events may be lost."""
        if not self._world.happens(self._world.faults.watch_lost):
            delay_ms = self._world.sim.rng.randint(100, 2_000)
            self._world.sim.call(delay_ms, self._spawn_watch, execution, 0)

    def publish_hook(self, hook: SourceHook) -> Process:
        host = self._host()
        self._may_crash()
        decided: list[HookResult] = []

        def rule(record: StreamRecord | None) -> StreamRecord | None:
            result = self._world.rules.published(
                record,
                stream_id=parse_path(hook.path).stream_id,
                hook=hook,
                now_ms=host.clock_ms,
                policy=self._world.policy,
            )
            decided[:] = [result]
            return result.record

        row = yield from self._world.store.update(host, parse_path(hook.path).stream_id, rule)
        self._may_crash()
        if row is not None and decided[0].start:
            self._start(row, decided[0].execution, host)

    def unpublish_hook(self, hook: SourceHook) -> Process:
        host = self._host()
        self._may_crash()
        yield from self._world.store.update(
            host,
            parse_path(hook.path).stream_id,
            lambda record: (
                self._world.rules.unpublished(
                    record, hook=hook, now_ms=host.clock_ms, policy=self._world.policy
                ).record
            ),
        )

    def authorize(self, request: MediaAuthorization) -> Process:
        """Answers a MediaPermit, or None for a refusal."""
        host = self._host()
        self._may_crash()
        row = yield from self._world.store.load(host, parse_path(request.path).stream_id)
        try:
            permit: MediaPermit = self._world.rules.authorize(
                row, request, now_ms=host.clock_ms, policy=self._world.policy
            )
        except AuthorizationError:
            return None
        return permit

    def reconcile(self, report: PathReport | None) -> Process:
        world, host = self._world, self._host()
        self._may_crash()
        if report is not None:
            known = self.reports.get(report.relay_id)
            if known is None or known.taken_at_ms < report.taken_at_ms:
                self.reports[report.relay_id] = report
        reports = list(self.reports.values())
        rows = dict(world.store.rows)
        for stream_id in published_streams(reports, host.clock_ms, world.policy):
            rows.setdefault(stream_id, StreamRecord(stream_id))  # its very first hook was lost
        yield 10
        plan = world.rules.plan(list(rows.values()), reports, host.clock_ms, world.policy)
        for action in plan:
            world.count(type(action).__name__)
            if isinstance(action, Start):
                self._may_crash()
                if (row := world.store.rows.get(action.stream_id)) is not None:
                    self._start(row, action.execution, host)
                continue
            yield from world.store.update(
                host,
                action.stream_id,
                lambda record, action=action: world.rules.apply(
                    record or new_stream(action.stream_id, host.clock_ms, world.policy),
                    action,
                    now_ms=host.clock_ms,
                    policy=world.policy,
                ),
            )

    def command(self, stream_id: str, name: str) -> Process:
        """What stream_api does for an operator."""
        world, host = self._world, self._host()
        rules = {"start": desire.start, "stop": desire.stop, "drain": desire.drain}
        given_up: list[str] = []

        def rule(record: StreamRecord | None) -> StreamRecord | None:
            given_up.clear()
            if record is None:
                return None
            if name == "settings":
                patch = {"delay_ms": world.sim.rng.choice([4_000, 6_000])}
                return stream_settings.change(record, patch, restart=True, now_ms=host.clock_ms)
            changed = rules[name](record, host.clock_ms)
            if name == "start" or changed.lease.phase is not Phase.WAITING_CAPACITY:
                return changed
            given_up.append(changed.lease.execution)
            return self._freed(host, changed, changed.lease.execution, Outcome.ENDED, "no host took it yet")

        try:
            row = yield from world.store.update(host, stream_id, rule)
        except StoreDownError:
            return
        for execution in given_up:
            self._machine.abort(self._machine.executions[execution], "ABORTED")
        if name == "start" and row is not None and world.rules.startable(row, host.clock_ms, world.policy):
            self._start(row, next_execution_name(row), host)

    def _acquire(self, host: Host, stream_id: str, execution: str, adopt_from: str, attempt: int) -> Process:
        world = self._world
        self._may_crash()
        answered: list[str] = []

        def rule(record: StreamRecord | None) -> StreamRecord:
            if record is None:
                raise AssertionError(_NO_RECORD)
            changed, status = world.rules.acquire(
                record, execution=execution, adopt_from=adopt_from, now_ms=host.clock_ms, policy=world.policy
            )
            answered[:] = [status]
            return changed

        answer = {"stream_id": stream_id, "adopt_from": "", "attempt": attempt + 1}
        try:
            row = yield from world.store.update(host, stream_id, rule)
        except LeaseRefusedError as refused:
            return {**answer, "status": refused.reason, "attempt": attempt}
        self._may_crash()
        if row is None:
            raise AssertionError(_NO_RECORD)
        policy = world.policy
        work = WorkItem(
            stream_id=stream_id,
            generation=row.lease.generation,
            execution=execution,
            heartbeat_s=policy.heartbeat_s,
        )
        limits = {
            "heartbeat_s": policy.heartbeat_s,
            "capacity_timeout_s": policy.capacity_timeout_s,
            "supervise_timeout_s": policy.supervise_timeout_s,
        }
        return {
            **answer,
            "status": answered[0],
            "generation": row.lease.generation,
            "work": work.model_dump(),
            "limits": limits,
        }

    def _classify(
        self, host: Host, stream_id: str, execution: str, started_at: int, state: dict[str, Any]
    ) -> Process:
        world = self._world
        self._may_crash()
        decided: list[Verdict] = []

        def rule(record: StreamRecord | None) -> StreamRecord:
            if record is None:
                raise AssertionError(_NO_RECORD)
            changed, verdict = world.rules.classify(
                record,
                execution=execution,
                state=state,
                started_at_ms=host.clock_ms - (world.sim.now - started_at),
                now_ms=host.clock_ms,
                policy=world.policy,
            )
            decided[:] = [verdict]
            return changed

        yield from world.store.update(host, stream_id, rule)
        verdict = decided[0]
        self._may_crash()
        self._count_restart(stream_id, verdict)
        return {
            "action": verdict.action,
            "backoff_s": verdict.backoff_s,
            "outcome": verdict.outcome.value,
            "detail": verdict.detail,
            "successor": verdict.successor,
        }

    def _count_restart(self, stream_id: str, verdict: Verdict) -> None:
        """Restarts after failures, counted apart from the rules; a host that drains or lacks room is no failure."""
        world = self._world
        world.count(f"verdict {verdict.action} {verdict.outcome.value}")
        free = verdict.outcome not in {Outcome.CRASHED, Outcome.FENCED}
        if free or not verdict.action.startswith("restart"):
            return
        window_ms = world.policy.restart_window_s * 1_000
        times = world.restarts.setdefault(stream_id, [])
        times[:] = [at for at in times if at > world.sim.now - window_ms] + [world.sim.now]
        if len(times) > world.policy.restart_budget:
            world.violate(f"{stream_id}: {len(times)} restarts in {world.policy.restart_window_s} s")

    def _release(self, host: Host, stream_id: str, execution: str, state: dict[str, Any]) -> Process:
        outcome, detail = release_reason(state)
        restarted = yield from self._free(host, stream_id, execution, outcome, detail)
        return {"stream_id": stream_id, "outcome": outcome.value, "restarted": restarted}

    def _free(self, host: Host, stream_id: str, execution: str, outcome: Outcome, detail: str) -> Process:
        world = self._world
        self._may_crash()
        row = yield from world.store.update(
            host,
            stream_id,
            lambda record: self._freed(host, record, execution, outcome, detail) if record else None,
        )
        self._may_crash()
        again = row is not None and world.rules.startable(row, host.clock_ms, world.policy)
        if row is not None and again:
            self._start(row, next_execution_name(row), host)
        return again

    def _freed(
        self, host: Host, record: StreamRecord, execution: str, outcome: Outcome, detail: str
    ) -> StreamRecord:
        return self._world.rules.release(
            record,
            execution=execution,
            outcome=outcome,
            detail=detail,
            now_ms=host.clock_ms,
            policy=self._world.policy,
        )

    def _spawn_watch(self, execution: Execution, attempt: int) -> None:
        self._world.sim.spawn(self._watched(execution, attempt))

    def _watched(self, execution: Execution, attempt: int) -> Process:
        try:
            detail = f"the execution ended {execution.status}"
            yield from self._free(self._host(), execution.stream_id, execution.name, Outcome.CRASHED, detail)
        except (StoreDownError, LambdaDownError):  # EventBridge tries again
            if attempt < 3:
                self._world.sim.call(5_000, self._spawn_watch, execution, attempt + 1)

    def _start(self, row: StreamRecord, name: str, host: Host) -> None:
        """Under another name where `name` is used up by an execution that never owned the stream."""
        given = {"stream_id": row.stream_id, "adopt_from": "", "attempt": 0}
        if not self._machine.start(name, given):
            self._machine.start(next_execution_name(row, salt=f"-again-{host.clock_ms // 10_000}"), given)

    def _host(self) -> Host:
        return self._world.host("lambda")

    def _may_crash(self) -> None:
        if self._world.happens(self._world.faults.lambda_crashes):
            raise LambdaDownError
