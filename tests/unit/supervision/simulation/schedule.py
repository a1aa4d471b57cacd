"""One random schedule: what publishers, operators and failures do, and what must hold in the end."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from livedub.supervision.contract import WorkReport
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import Desired, Phase, StreamRecord
from tests.unit.supervision.simulation.agents import Agent, Queue, Worker
from tests.unit.supervision.simulation.functions import Functions
from tests.unit.supervision.simulation.kernel import EPOCH_MS, Process, Simulation
from tests.unit.supervision.simulation.machine import Machine
from tests.unit.supervision.simulation.media import Media
from tests.unit.supervision.simulation.world import Faults, Rules, World

STORM_MS = 60_000
SETTLES_WITHIN_MS = 420_000
"""The longest repair: an execution that dies unseen while its work waits for a host."""
STEADY_MS = 12_000
_CHECK_MS = 2_000


@dataclass
class Result:
    """What one schedule showed."""

    seed: int
    violations: list[str] = field(default_factory=list)
    settled_ms: int = 0
    events: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)


def run_schedule(seed: int, rules: Rules | None = None) -> Result:
    """Run the schedule that `seed` names."""
    return _Schedule(seed, rules or Rules()).run()


class _Schedule:
    def __init__(self, seed: int, rules: Rules) -> None:
        self._seed = seed
        self._sim = Simulation(seed)
        rng = self._sim.rng
        policy = SupervisionPolicy.model_construct(
            heartbeat_s=6,
            clock_skew_s=5,
            capacity_timeout_s=30,
            supervise_timeout_s=rng.choice([25, 60, 3_600]),
            restart_budget=rng.choice([1, 3, 5]),
            restart_window_s=600,
            cool_down_s=rng.choice([40, 300]),
            grace_s=10,
            unknown_streams="accept",
            max_attempts_per_execution=rng.choice([2, 500]),
        )
        self._world = World(self._sim, policy, rules, self._storm(), skew_ms=5_000)
        self._machine = Machine(self._world)
        self._functions = Functions(self._world, self._machine)
        self._media = Media(self._world, self._functions)
        slots = rng.choice([1, 2, 4])
        self._agents = [
            Agent(self._world, self._machine, self._media, f"agent{number}", slots) for number in range(2)
        ]
        self._machine.send = Queue(self._world, self._agents).send
        self._streams = [f"s{number}" for number in range(rng.choice([1, 1, 2]))]
        if rng.random() < 0.7:  # else the first publisher makes its stream
            for stream_id in self._streams:
                self._world.store.rows[stream_id] = StreamRecord(stream_id)

    def run(self) -> Result:
        for stream_id in self._streams:
            self._sim.spawn(self._publisher(stream_id))
        self._sim.spawn(self._trouble())
        self._sim.run_until(STORM_MS)
        self._calm()
        settled_ms = self._settle()
        row_reasons = [self._reason(stream_id) for stream_id in self._streams]
        world = self._world
        return Result(self._seed, world.violations, settled_ms, self._sim.events, world.counts, row_reasons)

    def _storm(self) -> Faults:
        """Each kind of fault is on in about half of the schedules, so that every mix comes up."""
        rng = self._sim.rng

        def chance(most: float) -> float:
            return rng.random() * most if rng.random() < 0.5 else 0.0

        return Faults(
            store_slow=chance(0.1),
            store_fails=chance(0.15),
            lambda_crashes=chance(0.15),
            hook_lost=chance(0.5),
            hook_doubled=chance(0.5),
            hook_late=chance(0.5),
            report_lost=chance(0.5),
            message_doubled=chance(0.5),
            token_lost=chance(0.2),
            watch_lost=chance(1.0),
        )

    def _publisher(self, stream_id: str) -> Process:
        rng = self._sim.rng
        yield rng.randint(0, 3_000)
        restless = rng.choice([6_000, 20_000, 100_000])
        on = rng.random() < 0.9
        while self._sim.now < STORM_MS:
            if on:
                self._media.publish(stream_id)
            else:
                self._media.unpublish(stream_id)
            yield rng.randint(500, restless)
            on = not on or rng.random() < 0.3

    def _trouble(self) -> Process:
        rng = self._sim.rng
        events = rng.choice([0, 2, 5, 12])
        kinds = [
            self._crash_worker,
            self._crash_every_worker,
            self._wedge_worker,
            self._crash_agent,
            self._crash_all_agents,
            self._freeze_agent,
            self._cut_agent,
            self._drain_agent,
            self._kill_execution,
            self._restart_relay,
            self._cut_media,
            self._drop_connection,
            self._command,
        ]
        for _ in range(events):
            yield rng.randint(200, 2 * STORM_MS // (events + 1))
            if self._sim.now >= STORM_MS:
                return
            rng.choice(kinds)()

    def _workers(self) -> list[Worker]:
        return [worker for agent in self._agents for worker in agent.workers if worker.alive]

    def _crash_worker(self) -> None:
        for worker in self._workers():
            if self._sim.rng.random() < 0.6:
                worker.end(self._media, WorkReport(outcome="crashed", exit_code=-9))

    def _crash_every_worker(self) -> None:
        """For a while no worker lives long: an input that kills it."""
        self._sim.spawn(self._killer(self._sim.now + self._sim.rng.randint(5_000, 40_000)))

    def _killer(self, until_ms: int) -> Process:
        while self._sim.now < min(until_ms, STORM_MS):
            self._crash_worker()
            yield self._sim.rng.randint(300, 3_000)

    def _wedge_worker(self) -> None:
        for worker in self._workers()[:1]:
            worker.wedged = True

    def _crash_agent(self) -> None:
        agent = self._sim.rng.choice(self._agents)
        agent.crash()
        self._sim.call(self._sim.rng.randint(500, 40_000), agent.come_up)

    def _crash_all_agents(self) -> None:
        """No capacity until one is back."""
        for agent in self._agents:
            agent.crash()
            self._sim.call(self._sim.rng.randint(10_000, 50_000), agent.come_up)

    def _freeze_agent(self) -> None:
        """The agent stands still; its workers run on."""
        agent = self._sim.rng.choice(self._agents)
        if self._sim.rng.random() < 0.5:
            agent.host.frozen_until_ms = self._sim.now + self._sim.rng.randint(1_000, 25_000)

    def _cut_agent(self) -> None:
        """No AWS for a while; the media server can be reached."""
        agent = self._sim.rng.choice(self._agents)
        agent.host.offline_until_ms = self._sim.now + self._sim.rng.randint(1_000, 25_000)

    def _drain_agent(self) -> None:
        agent = self._sim.rng.choice(self._agents)
        agent.draining = True
        self._sim.call(20_000, agent.come_up)

    def _kill_execution(self) -> None:
        running = [one for stream_id in self._streams for one in self._machine.running(stream_id)]
        if running:
            status = self._sim.rng.choice(["ABORTED", "FAILED", "TIMED_OUT"])
            self._machine.abort(self._sim.rng.choice(running), status)

    def _restart_relay(self) -> None:
        self._media.restart_relay()

    def _cut_media(self) -> None:
        self._media.host.offline_until_ms = self._sim.now + self._sim.rng.randint(1_000, 15_000)

    def _drop_connection(self) -> None:
        for stream_id in self._streams:
            self._media.kick(stream_id)

    def _command(self) -> None:
        rng = self._sim.rng
        name = rng.choice(["stop", "start", "drain", "settings", "start"])
        self._sim.spawn(self._functions.command(rng.choice(self._streams), name))

    def _calm(self) -> None:
        self._world.faults = Faults()
        self._media.host.offline_until_ms = 0
        for agent in self._agents:
            agent.host.offline_until_ms = 0
            agent.host.frozen_until_ms = min(agent.host.frozen_until_ms, self._sim.now)
            if not agent.up:
                agent.come_up()

    def _settle(self) -> int:
        """How long after the storm everything is as it should be, and stays so; a violation if never."""
        well_since: int | None = None
        wrong: list[str] = []
        while self._sim.now < STORM_MS + SETTLES_WITHIN_MS:
            self._sim.run_until(self._sim.now + _CHECK_MS)
            wrong = [text for stream_id in self._streams for text in self._wrong(stream_id)]
            if wrong:
                well_since = None
            elif well_since is None:
                well_since = self._sim.now
            elif self._sim.now - well_since >= STEADY_MS:
                return well_since - STORM_MS
        for text in wrong or ["it never came to rest"]:
            self._world.violate(text)
        return SETTLES_WITHIN_MS

    def _wrong(self, stream_id: str) -> list[str]:
        row = self._row(stream_id)
        reason = self._reason(stream_id)
        if row.source_present != (stream_id in self._media.sources):
            return [f"{stream_id}: {reason or 'a live publisher'}, but the record says {row.source}"]
        workers = [worker for worker in self._workers() if worker.stream_id == stream_id]
        publishing = [worker.generation for worker in self._media.outputs.get(stream_id, [])]
        generations = [worker.generation for worker in workers]
        if not reason:
            if publishing == [row.lease.generation] == generations and row.lease.phase is Phase.RUNNING:
                return []
            return [
                f"{stream_id}: a live publisher, but {publishing} publish, {generations} run; {row.lease}"
            ]
        if publishing or generations or row.lease.phase is not Phase.FREE:
            return [f"{stream_id}: {reason}, but {publishing} publish, {generations} run; {row.lease}"]
        return []

    def _row(self, stream_id: str) -> StreamRecord:
        return self._world.store.rows.get(stream_id) or StreamRecord(stream_id)

    def _reason(self, stream_id: str) -> str:
        """Why the stream needs no worker, by what truly is; empty when it needs one."""
        row = self._row(stream_id)
        source_id = self._media.sources.get(stream_id)
        if source_id is None:
            return "no publisher"
        if row.desired is Desired.STOPPED:
            return "stopped"
        if row.desired is Desired.DRAINED and row.drained_source_id == source_id:
            return "drained"
        now_ms = EPOCH_MS + self._sim.now
        if row.degraded_until_ms is not None and now_ms < row.degraded_until_ms:
            if len(row.restarts_ms) <= self._world.policy.restart_budget:
                self._world.violate(f"{stream_id}: degraded within its budget")
            return "degraded"
        return ""


def digest(results: list[Result]) -> str:
    """One number for many results: two machines that ran the same schedules agree on it."""
    text = "".join(f"{result.seed}:{result.settled_ms}:{result.events};" for result in results)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
