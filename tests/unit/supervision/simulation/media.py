"""A media server with its relay: who publishes what, hooks, admission, kicks, path lists.

The server itself takes every publisher that its relay admits: that never two publish `out` is the work of auth and
kick, not of the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from livedub.supervision.contract import (
    MediaAddresses,
    MediaAuthorization,
    PathReport,
    PublishedPath,
    SourceHook,
)
from tests.unit.supervision.simulation.functions import Functions
from tests.unit.supervision.simulation.kernel import Process
from tests.unit.supervision.simulation.world import LambdaDownError, StoreDownError, World

if TYPE_CHECKING:
    from tests.unit.supervision.simulation.agents import Worker

RELAY_ID = "relay-1"
REPORT_PERIOD_MS = 10_000
_FORWARD_TIMEOUT_MS = 2_000
_ADDRESSES = MediaAddresses(play_base_url="rtmp://media:1935", publish_base_url="rtmp://media:1935")


class Media:
    """One media host."""

    def __init__(self, world: World, functions: Functions) -> None:
        self._world = world
        self._functions = functions
        self.host = world.host("media")
        self.sources: dict[str, str] = {}
        self.outputs: dict[str, list[Worker]] = {}
        self._permitted: dict[str, int] = {}
        self._newest: dict[str, int] = {}
        self._count = 0
        world.sim.spawn(self._report_for_ever())
        world.sim.spawn(self._reconcile_on_schedule())

    def publish(self, stream_id: str) -> None:
        self.unpublish(stream_id)
        self._count += 1
        source_id = f"source-{self._count}"
        self.sources[stream_id] = source_id
        self._hook(stream_id, source_id, present=True)

    def unpublish(self, stream_id: str) -> None:
        source_id = self.sources.pop(stream_id, None)
        if source_id is not None:
            self._hook(stream_id, source_id, present=False)

    def restart_relay(self) -> None:
        """It forgets what it has permitted; what was in flight is gone."""
        self.host.kill()
        self._permitted.clear()

    def connect(self, worker: Worker) -> Process:
        """A worker tries to publish `out`; True once it is on."""
        done = self._world.sim.spawn(self._admit(worker), self.host)
        self._world.sim.call(_FORWARD_TIMEOUT_MS + 1_000, done.set, False)  # the relay may die meanwhile
        return (yield done)

    def disconnect(self, worker: Worker) -> None:
        publishers = self.outputs.get(worker.stream_id, [])
        if worker in publishers:
            publishers.remove(worker)
            worker.publishing = False

    def kick(self, stream_id: str) -> None:
        for worker in list(self.outputs.get(stream_id, [])):
            self.disconnect(worker)

    def _admit(self, worker: Worker) -> Process:
        world, path = self._world, f"live/{worker.stream_id}/out"
        asked_ms = world.sim.now
        request = MediaAuthorization(relay_id=RELAY_ID, action="publish", path=path, credential=worker.token)
        yield world.sim.rng.randint(2, 20)
        if not self.host.online:
            return False
        try:
            permit = yield from self._functions.authorize(request)
        except (StoreDownError, LambdaDownError):
            return False
        if world.happens(world.faults.hook_late):
            yield world.sim.rng.randint(100, _FORWARD_TIMEOUT_MS)
        if permit is None or world.sim.now - asked_ms > _FORWARD_TIMEOUT_MS or not worker.alive:
            return False
        if world.rules.relay_refuses_older and permit.generation < self._permitted.get(path, 0):
            return False
        self._permitted[path] = permit.generation
        if world.rules.relay_kicks:
            self.kick(worker.stream_id)
        self._take(worker)
        return True

    def _take(self, worker: Worker) -> None:
        publishers = self.outputs.setdefault(worker.stream_id, [])
        publishers.append(worker)
        worker.publishing = True
        newest = self._newest.get(worker.stream_id, 0)
        if worker.generation < newest:
            self._world.violate(f"{worker.stream_id}: {worker.generation} publishes after {newest}")
        self._newest[worker.stream_id] = max(newest, worker.generation)
        if len(publishers) > 1:
            both = [publisher.generation for publisher in publishers]
            self._world.violate(f"{worker.stream_id}: generations {both} publish at once")

    def _hook(self, stream_id: str, source_id: str, *, present: bool) -> None:
        world = self._world
        hook = SourceHook(
            relay_id=RELAY_ID,
            path=f"live/{stream_id}/in",
            source_id=source_id,
            occurred_at_ms=self.host.clock_ms,
            media=_ADDRESSES,
        )
        if world.happens(world.faults.hook_lost):
            return
        for _ in range(2 if world.happens(world.faults.hook_doubled) else 1):
            late = world.happens(world.faults.hook_late)
            delay_ms = world.sim.rng.randint(1_000, 30_000) if late else world.sim.rng.randint(5, 60)
            world.sim.call(delay_ms, self._forward, hook, present)

    def _forward(self, hook: SourceHook, present: bool) -> None:
        self._world.sim.spawn(self._deliver(hook, present=present), self.host)

    def _deliver(self, hook: SourceHook, *, present: bool) -> Process:
        send = self._functions.publish_hook if present else self._functions.unpublish_hook
        for _ in range(3):
            if self.host.online:
                try:
                    yield from send(hook)
                except (StoreDownError, LambdaDownError):
                    pass
                else:
                    return
            yield 1_000

    def _report_for_ever(self) -> Process:
        world = self._world
        while True:
            yield REPORT_PERIOD_MS
            if not self.host.online or world.happens(world.faults.report_lost):
                continue
            paths = [
                PublishedPath(path=f"live/{stream_id}/in", source_id=source_id)
                for stream_id, source_id in self.sources.items()
            ]
            report = PathReport(
                relay_id=RELAY_ID, taken_at_ms=self.host.clock_ms, media=_ADDRESSES, paths=paths
            )
            late_ms = world.sim.rng.randint(0, 5_000) if world.happens(world.faults.hook_late) else 5
            world.sim.call(late_ms, self._reconcile, report)

    def _reconcile_on_schedule(self) -> Process:
        while True:
            yield 60_000
            self._reconcile(None)

    def _reconcile(self, report: PathReport | None) -> None:
        self._world.sim.spawn(self._reconciled(report))

    def _reconciled(self, report: PathReport | None) -> Process:
        try:
            yield from self._functions.reconcile(report)
        except (StoreDownError, LambdaDownError):
            return
