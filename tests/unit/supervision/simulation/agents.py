"""Agents and their workers, as the state machine and the media server meet them."""

from __future__ import annotations

import hashlib
from typing import Any

from livedub.supervision.contract import WorkMessage, WorkReport
from livedub.supervision.lease import LeaseRefusedError
from livedub.supervision.record import Desired, StreamRecord
from tests.unit.supervision.simulation.kernel import Host, Process
from tests.unit.supervision.simulation.machine import Machine
from tests.unit.supervision.simulation.media import Media
from tests.unit.supervision.simulation.world import OfflineError, StoreDownError, World

_GRACE_MS = 10_000
_DRAIN_MS = 4_000
_EGRESS_TIMEOUT_MS = 20_000
_TICK_MS = 1_000
_VISIBILITY_MS = 8_000


class Worker:
    """One worker process: publishes while it may, ends when its publisher is gone for longer than its grace."""

    def __init__(self, stream_id: str, generation: int, token: str) -> None:
        self.stream_id = stream_id
        self.generation = generation
        self.token = token
        self.alive = True
        self.publishing = False
        self.wedged = False
        self.report: WorkReport | None = None

    def end(self, media: Media, report: WorkReport | None = None) -> None:
        if self.alive:
            self.alive = False
            self.report = report
            media.disconnect(self)


class Agent:
    """One worker host. Every incarnation has an id of its own."""

    def __init__(self, world: World, machine: Machine, media: Media, name: str, slots: int) -> None:
        self._world = world
        self._machine = machine
        self._media = media
        self._name = name
        self._slots = slots
        self.host: Host = world.host(name)
        self.agent_id = f"{name}-0"
        self.up = True
        self.draining = False
        self.workers: list[Worker] = []
        self._busy = 0

    @property
    def has_room(self) -> bool:
        return self.up and not self.draining and self.host.online and self._busy < self._slots

    def crash(self) -> None:
        """Everything here dies, the workers with it."""
        self.up = False
        self.host.kill()
        self._busy = 0
        for worker in self.workers:
            worker.end(self._media)

    def come_up(self) -> None:
        self.up = True
        self.draining = False
        self.agent_id = f"{self._name}-{self.host.epoch}"

    def take(self, body: dict[str, Any], delete: Any) -> None:
        self._world.sim.spawn(self._serve(WorkMessage.model_validate(body), delete), self.host)

    def _serve(self, message: WorkMessage, delete: Any) -> Process:
        world, work = self._world, message.work
        self._busy += 1
        try:
            claimed = yield from self._succeed(message.claim_token, {"agent_id": self.agent_id}, 5_000)
            if claimed is None:
                return
            delete()
            if not claimed and world.rules.claim_token_checked:
                return
            try:
                worker_token = yield from self._bind(work.stream_id, work.generation)
            except LeaseRefusedError:
                return
            if worker_token is not None:
                yield from self._supervise(work.stream_id, work.generation, *worker_token)
        finally:
            self._busy -= 1

    def _bind(self, stream_id: str, generation: int) -> Process:
        """Claim the row, wait for the task token, bind: (task token, publish token), or None."""
        world = self._world
        until_ms = world.sim.now + world.policy.lease_ttl_ms
        common = {"generation": generation, "agent_id": self.agent_id}
        yield from self._insist(stream_id, world.rules.claim, common, until_ms)
        while world.sim.now < until_ms:
            yield 200
            try:
                row = yield from world.store.load(self.host, stream_id)
            except StoreDownError:
                continue
            if row is None or row.lease.generation != generation:
                return None
            if row.lease.task_token:
                publish_token = f"{world.sim.rng.getrandbits(64):x}"
                digest = hashlib.sha256(publish_token.encode()).hexdigest()
                common["publish_token_hash"] = digest
                bound = yield from self._insist(stream_id, world.rules.bind, common, until_ms)
                return (row.lease.task_token, publish_token) if bound is not None else None
        return None

    def _insist(self, stream_id: str, rule: Any, arguments: dict[str, Any], until_ms: int) -> Process:
        """Apply a rule, again while the store is down; None when time is up."""
        world = self._world
        while world.sim.now < until_ms:
            try:
                return (yield from self._change(stream_id, rule, **arguments))
            except StoreDownError:  # noqa: PERF203 - each try is a call
                yield 300
        return None

    def _change(self, stream_id: str, rule: Any, **arguments: Any) -> Process:
        policy = self._world.policy

        def apply(record: StreamRecord | None) -> StreamRecord:
            if record is None:
                raise LeaseRefusedError("unknown", stream_id)
            return rule(record, now_ms=self.host.clock_ms, policy=policy, **arguments)

        return self._world.store.update(self.host, stream_id, apply)

    def _supervise(self, stream_id: str, generation: int, token: str, publish_token: str) -> Process:
        world = self._world
        worker = Worker(stream_id, generation, publish_token)
        twins = [other for other in self.workers if other.alive and other.stream_id == stream_id]
        if any(twin.generation == generation for twin in twins):
            world.violate(f"{stream_id}: two workers of generation {generation} on {self._name}")
        self.workers.append(worker)
        world.sim.spawn(self._work(worker), self.host)
        supervised = _Supervision(world, self._machine, self._media, self, worker, token)
        try:
            yield from supervised.run()
        finally:
            worker.end(self._media)
            self.workers.remove(worker)
        report = worker.report
        if report is not None:
            yield from self._succeed(supervised.token, report.model_dump(), world.policy.lease_ttl_ms)

    def _work(self, worker: Worker) -> Process:
        """The worker process itself."""
        world, media = self._world, self._media
        absent_ms = 0
        refused_ms = 0
        while worker.alive:
            if worker.wedged:
                yield _TICK_MS
                continue
            if not worker.publishing:
                admitted = yield from media.connect(worker)
                refused_ms = 0 if admitted else refused_ms + _TICK_MS
            present = worker.stream_id in media.sources
            absent_ms = 0 if present else absent_ms + _TICK_MS
            if absent_ms > _GRACE_MS:
                worker.end(media, WorkReport(outcome="source_lost"))
            elif refused_ms > _EGRESS_TIMEOUT_MS:
                worker.end(media, WorkReport(outcome="crashed", detail="the output was refused"))
            yield _TICK_MS if world.sim.rng.random() < 0.9 else 500

    def _succeed(self, token: str, output: dict[str, Any], patience_ms: int) -> Process:
        """SendTaskSuccess: True, False when the token is dead, None when nobody answered in time."""
        world = self._world
        until_ms = world.sim.now + patience_ms
        while world.sim.now < until_ms:
            try:
                yield from self._network()
            except OfflineError:
                yield 500
                continue
            took = self._machine.succeed(token, output)
            if not world.happens(world.faults.token_lost):
                return took
            # The answer was lost: the next try meets a dead token, as it would with AWS.
            yield 300
        return None

    def _network(self) -> Process:
        yield self._world.sim.rng.randint(5, 30)
        if not self.host.online:
            raise OfflineError


class _Supervision:
    """Beats for one worker until it ends, is fenced, or nobody has answered for too long."""

    def __init__(
        self, world: World, machine: Machine, media: Media, agent: Agent, worker: Worker, token: str
    ) -> None:
        self._world = world
        self._machine = machine
        self._media = media
        self._agent = agent
        self._worker = worker
        self.token = token
        self._renewed_ms = world.sim.now
        self._refused_ms: int | None = None
        self._drains_at_ms: int | None = None
        self._delay_ms: object = None

    def run(self) -> Process:
        world, worker = self._world, self._worker
        ttl_ms = world.policy.lease_ttl_ms
        margin_ms = ttl_ms // 6
        next_ms = world.sim.now
        while worker.alive:
            late = world.sim.now > self._renewed_ms + ttl_ms - margin_ms
            if late and world.rules.agent_stops_when_fenced:
                worker.end(self._media)
                return
            self._drain_if_due()
            if world.sim.now >= next_ms and not worker.wedged:
                next_ms = world.sim.now + ttl_ms // 3
                if not (yield from self._beat()) and world.rules.agent_stops_when_fenced:
                    worker.end(self._media)
                    return
            yield 250

    def _beat(self) -> Process:
        """Renew the row, then beat: False when fenced."""
        world, worker, agent = self._world, self._worker, self._agent
        started_ms = world.sim.now
        common = {"generation": worker.generation, "agent_id": agent.agent_id}
        try:
            row = yield from agent._change(worker.stream_id, world.rules.renew, **common)
        except LeaseRefusedError:
            return False
        except StoreDownError:
            return True
        self._renewed_ms = started_ms
        self._obey(row)
        try:
            yield from agent._network()
        except OfflineError:
            return True
        return self._machine.beat(self.token) or self._follow(row)

    def _follow(self, row: StreamRecord) -> bool:
        """The token is dead: a successor execution may have left another one in the row."""
        if row.lease.task_token and row.lease.task_token != self.token:
            self.token = row.lease.task_token
            self._refused_ms = None
            return True
        if self._refused_ms is None:
            self._refused_ms = self._world.sim.now
        return self._world.sim.now - self._refused_ms < self._world.policy.lease_ttl_ms

    def _obey(self, row: StreamRecord) -> None:
        if row.desired is Desired.STOPPED:
            self._worker.end(self._media, WorkReport(outcome="ended", detail="stopped"))
        elif row.desired is Desired.DRAINED and self._drains_at_ms is None:
            self._drains_at_ms = self._world.sim.now + _DRAIN_MS
        delay_ms = row.settings.get("delay_ms")
        changed = self._delay_ms is not None and delay_ms != self._delay_ms
        self._delay_ms = delay_ms
        if changed or self._agent.draining:
            self._worker.end(self._media, WorkReport(outcome="drained", host_draining=True))

    def _drain_if_due(self) -> None:
        if self._drains_at_ms is not None and self._world.sim.now >= self._drains_at_ms:
            self._worker.end(self._media, WorkReport(outcome="drained"))


class Queue:
    """Delivers at least once, to whoever has room; a message that is not deleted comes again."""

    def __init__(self, world: World, agents: list[Agent]) -> None:
        self._world = world
        self._agents = agents

    def send(self, body: dict[str, Any]) -> None:
        for _ in range(2 if self._world.happens(self._world.faults.message_doubled) else 1):
            self._world.sim.spawn(self._deliver(body))

    def _deliver(self, body: dict[str, Any]) -> Process:
        sim = self._world.sim
        deleted: list[bool] = []
        received = 0
        while not deleted and received < 20:
            ready = [agent for agent in self._agents if agent.has_room]
            if not ready:
                yield 1_000
                continue
            yield sim.rng.randint(10, 200)
            agent = sim.rng.choice(ready)
            if agent.has_room:
                received += 1
                agent.take(body, lambda: deleted.append(True))
            yield _VISIBILITY_MS
