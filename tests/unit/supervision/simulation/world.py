"""What all parts of the simulation share: clock, faults, rules under test, the row store and what was found wrong."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Any

from livedub.supervision import authorize, hooks, lease, outcomes, reconcile
from livedub.supervision.naming import successor_name
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import Lease, Phase, StreamRecord
from tests.unit.supervision.simulation.kernel import EPOCH_MS, Host, Simulation


class StoreDownError(Exception):
    """The store did not answer; the write may have happened."""


class LambdaDownError(Exception):
    """The function crashed; what it wrote stays."""


class OfflineError(Exception):
    """No network."""


@dataclass
class Rules:
    """What is under test. A mutation replaces one of them."""

    acquire: Callable[..., Any] = lease.acquire
    claim: Callable[..., Any] = lease.claim
    bind: Callable[..., Any] = lease.bind
    renew: Callable[..., Any] = lease.renew
    release: Callable[..., Any] = lease.release
    startable: Callable[..., Any] = lease.startable
    published: Callable[..., Any] = hooks.published
    unpublished: Callable[..., Any] = hooks.unpublished
    classify: Callable[..., Any] = outcomes.classify
    authorize: Callable[..., Any] = authorize.authorize
    plan: Callable[..., Any] = reconcile.plan
    apply: Callable[..., Any] = reconcile.apply
    relay_kicks: bool = True
    relay_refuses_older: bool = True
    agent_stops_when_fenced: bool = True
    claim_token_checked: bool = True


@dataclass
class Faults:
    """How likely things go wrong, per operation. All zero once faults are over."""

    store_slow: float = 0.0
    store_fails: float = 0.0
    lambda_crashes: float = 0.0
    hook_lost: float = 0.0
    hook_doubled: float = 0.0
    hook_late: float = 0.0
    report_lost: float = 0.0
    message_doubled: float = 0.0
    token_lost: float = 0.0
    watch_lost: float = 0.0


@dataclass
class World:
    """One simulated deployment."""

    sim: Simulation
    policy: SupervisionPolicy
    rules: Rules
    faults: Faults
    skew_ms: int
    violations: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    restarts: dict[str, list[int]] = field(default_factory=dict)
    """When restarts followed failures, by stream, since it last rested."""

    def __post_init__(self) -> None:
        self.store = Store(self)

    def violate(self, text: str) -> None:
        self.violations.append(f"{self.sim.now} ms: {text}")

    def count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def happens(self, chance: float) -> bool:
        return chance > 0.0 and self.sim.rng.random() < chance

    def host(self, name: str) -> Host:
        """A host whose clock is off; any two differ by at most the skew."""
        half = self.skew_ms // 2
        return Host(self.sim, name, self.sim.rng.randint(-half, half))


Rule = Callable[[StreamRecord | None], StreamRecord | None]


class Store:
    """Rows with compare-and-swap, sometimes slow, sometimes silent; checks every write."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.rows: dict[str, StreamRecord] = {}
        self._bound: dict[tuple[str, int], str] = {}

    def load(self, host: Host, stream_id: str) -> Generator[int, Any, StreamRecord | None]:
        yield self._latency_ms()
        self._reachable(host)
        return self.rows.get(stream_id)

    def update(self, host: Host, stream_id: str, rule: Rule) -> Generator[int, Any, StreamRecord | None]:
        """As stores do: read, decide, write unless somebody else wrote, else again."""
        world = self._world
        for _ in range(20):
            yield self._latency_ms()
            self._reachable(host)
            read = self.rows.get(stream_id)
            changed = rule(read)
            if changed is None or changed == read:
                return read
            yield self._latency_ms()
            self._reachable(host)
            if self.rows.get(stream_id) is not read:
                continue
            if world.happens(world.faults.store_fails / 2):
                raise StoreDownError
            kept = self._write(read, changed)
            if world.happens(world.faults.store_fails / 2):
                raise StoreDownError
            return kept
        raise StoreDownError

    def hand_over_token(self, stream_id: str, generation: int, execution: str, token: str) -> bool:
        """The state machine's own conditional write."""
        row = self.rows.get(stream_id)
        if row is None or row.lease.generation != generation or row.lease.execution != execution:
            return False
        self._write(row, replace(row, lease=replace(row.lease, task_token=token)))
        return True

    def _write(self, before: StreamRecord | None, after: StreamRecord) -> StreamRecord:
        version = before.row_version if before else 0
        kept = replace(after, row_version=version + 1)
        self.rows[after.stream_id] = kept
        self._check(before, kept)
        return kept

    def _check(self, before: StreamRecord | None, after: StreamRecord) -> None:
        self._check_generation(before.lease if before else Lease(), after)
        if before is not None and before.degraded_until_ms is not None and after.degraded_until_ms is None:
            self._world.restarts.pop(after.stream_id, None)
        lease = after.lease
        if lease.phase is Phase.RUNNING and lease.ended_at_ms is None:
            known = self._bound.setdefault((after.stream_id, lease.generation), lease.publish_token_hash)
            if known != lease.publish_token_hash:
                self._world.violate(f"{after.stream_id}: two publish tokens in generation {lease.generation}")

    def _check_generation(self, old: Lease, after: StreamRecord) -> None:
        new, world = after.lease, self._world
        if new.generation < old.generation:
            world.violate(f"{after.stream_id}: generation fell from {old.generation} to {new.generation}")
        heirs = {old.execution, successor_name(after.stream_id, old.execution)}
        taken = new.generation > old.generation and old.phase is not Phase.FREE
        if taken and new.execution not in heirs and EPOCH_MS + world.sim.now <= old.expires_at_ms:
            world.violate(f"{after.stream_id}: taken from {old.execution} before its lease had expired")

    def _latency_ms(self) -> int:
        world = self._world
        if world.happens(world.faults.store_slow):
            return world.sim.rng.randint(500, 3_000)
        return world.sim.rng.randint(3, 15)

    def _reachable(self, host: Host) -> None:
        if not host.online:
            raise StoreDownError
