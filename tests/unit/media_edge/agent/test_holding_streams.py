"""Leases, heartbeats and fences of a running worker."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest

from livedub.supervision.record import Phase
from tests.unit.media_edge.agent.agent_world import EPOCH_MS, HEARTBEAT_S, World, now_s, until
from tests.unit.media_edge.agent.virtual_loop import run_virtual

PERIOD_S = HEARTBEAT_S / 3
MARGIN_S = HEARTBEAT_S / 6


def lease_ends_s(world: World) -> float:
    return (world.row().lease.expires_at_ms - EPOCH_MS) / 1_000


def test_a_worker_that_gets_on_keeps_lease_and_task():
    async def main() -> None:
        world = World()
        world.publish()
        async with world.running():
            worker = await world.started()
            await asyncio.sleep(600)
            assert worker.alive
            assert lease_ends_s(world) > now_s() + HEARTBEAT_S - PERIOD_S - 1
            times = [at for at, _ in world.machine.beats]
            assert max(b - a for a, b in pairwise(times)) < PERIOD_S + 1
            assert len(times) == pytest.approx(600 / PERIOD_S, rel=0.1)
            # One with the assignment, one with every beat: a frozen agent could not end the worker.
            assert len(worker.leases_ms) == len(times) + 1
            assert all(0 < valid_ms < HEARTBEAT_S * 1_000 - 1_000 for valid_ms in worker.leases_ms)

    run_virtual(main())


@pytest.mark.parametrize("state", ["waiting", "buffering"])
def test_a_worker_that_rightly_sends_nothing_yet_is_kept(state: str):
    async def main() -> None:
        world = World()
        world.publish()
        async with world.running():
            worker = await world.started()
            worker.state, worker.output_ms = state, None
            await asyncio.sleep(120)
            assert worker.alive
            assert world.machine.beats[-1][0] > now_s() - PERIOD_S - 1

    run_virtual(main())


@pytest.mark.parametrize("how", ["wedged", "mute", "output_down"])
def test_a_worker_that_stands_still_gets_no_beats_and_is_ended_and_reported(how: str):
    async def main() -> None:
        world = World()
        world.publish()
        async with world.running():
            worker = await world.started()
            await asyncio.sleep(30)
            if how == "output_down":
                worker.state = how
            else:
                setattr(worker, how, True)
            stopped = now_s()
            await until(lambda: not worker.alive)
            assert worker.killed_at_s is not None
            assert worker.killed_at_s - stopped <= HEARTBEAT_S + 0.1
            assert world.machine.beats[-1][0] <= stopped + PERIOD_S + 1
            await until(lambda: bool(world.machine.reports))
            _, _, report = world.machine.reports[0]
            assert report.outcome == "crashed"
            assert "no progress" in report.detail
            await until(lambda: world.agent.used == 0)

    run_virtual(main())


def test_a_worker_that_never_says_anything_is_given_its_time_to_load_and_no_more():
    async def main() -> None:
        world = World()
        world.publish()
        async with world.running():
            await until(lambda: bool(world.pool.workers))
            worker = world.pool.workers[0]
            worker.mute = True
            began = now_s()
            await until(lambda: not worker.alive)
            assert worker.killed_at_s is not None
            load_s = world.tools.start_timeout_s
            assert load_s < worker.killed_at_s - began <= load_s + HEARTBEAT_S + 0.1

    run_virtual(main())


def test_a_refused_renewal_ends_the_worker_within_a_second_and_kicks_it_and_reports_nothing():
    async def main() -> None:
        world = World()
        world.publish()
        async with world.running():
            worker = await world.started()
            await asyncio.sleep(20)
            # Only renewals see it: the look at the rows is cut off.
            observe, world.agent._observe = world.agent._observe, lambda runs, rows: None
            world.change(lambda record: replace(record, lease=replace(record.lease, generation=2)))
            refused_from = now_s()
            await until(lambda: not worker.alive, bound_s=PERIOD_S + 1)
            beats_after = [at for at, _ in world.machine.beats if at > refused_from]
            assert beats_after == []
            await until(lambda: bool(world.kicker.kicks), bound_s=1.0)
            world.agent._observe = observe
            assert world.kicker.kicks[0][1:] == (
                "http://media:9996/v1/kick",
                "live/stadium/out",
                worker.token,
            )
            await until(lambda: world.agent.used == 0, bound_s=1.0)
            await asyncio.sleep(60)
            assert world.machine.reports == []

    run_virtual(main())


@pytest.mark.parametrize(
    "taken", [{"generation": 2}, {"agent_id": "host-2"}, {"phase": Phase.FREE}, {"agent_id": ""}]
)
def test_a_row_that_is_no_longer_ours_fences_within_a_second(taken: dict[str, object]):
    async def main() -> None:
        world = World()
        world.publish()
        async with world.running():
            worker = await world.started()
            await asyncio.sleep(20)
            world.change(lambda record: replace(record, lease=replace(record.lease, **taken)))  # type: ignore[arg-type]
            moved = now_s()
            await until(lambda: not worker.alive)
            assert worker.killed_at_s is not None
            assert worker.killed_at_s - moved <= 1.1
            await until(lambda: bool(world.kicker.kicks))
            assert world.machine.reports == []

    run_virtual(main())


@pytest.mark.parametrize("fault", ["hang", "refuse"])
def test_a_cut_endpoint_ends_the_worker_before_anybody_else_may_start_one(fault: str):
    async def main() -> None:
        world = World()
        world.publish()
        async with world.running():
            worker = await world.started()
            await asyncio.sleep(31)
            setattr(world.wires, fault, True)
            ends_s = lease_ends_s(world)
            last_beat_s = world.machine.beats[-1][0]
            await until(lambda: not worker.alive)
            assert worker.killed_at_s is not None
            assert worker.killed_at_s <= ends_s - MARGIN_S + 0.1
            assert worker.killed_at_s <= last_beat_s + HEARTBEAT_S - MARGIN_S + 0.1
            assert worker.killed_at_s > last_beat_s + HEARTBEAT_S / 2  # not at the first hiccup
            await asyncio.sleep(3)
            setattr(world.wires, fault, False)
            await until(lambda: bool(world.machine.reports))
            assert world.machine.reports[0][2].outcome == "fenced"

    run_virtual(main())


def test_step_functions_cut_off_alone_ends_the_worker_too():
    """The state machine starts the next generation at once when heartbeats stop: the lease alone protects nobody."""

    async def main() -> None:
        world = World()
        world.publish()
        async with world.running():
            worker = await world.started()
            await asyncio.sleep(31)
            last_beat_s = world.machine.beats[-1][0]
            world.wires.lose_answers_of = "Heartbeat"
            world.machine.heartbeat = lambda token: None  # what is lost is lost on the way there
            await until(lambda: not worker.alive)
            assert worker.killed_at_s is not None
            assert worker.killed_at_s <= last_beat_s + HEARTBEAT_S - MARGIN_S + 0.1

    run_virtual(main())


def test_a_short_cut_costs_nothing():
    async def main() -> None:
        world = World()
        world.publish()
        async with world.running():
            worker = await world.started()
            await asyncio.sleep(31)
            world.wires.refuse = True
            await asyncio.sleep(HEARTBEAT_S / 3)
            world.wires.refuse = False
            await asyncio.sleep(60)
            assert worker.alive
            assert world.machine.beats[-1][0] > now_s() - PERIOD_S - 1

    run_virtual(main())


@pytest.mark.parametrize("comes_after_s", [0.0, HEARTBEAT_S - 2.0])
def test_an_execution_that_rolls_over_changes_the_token_and_nothing_else(comes_after_s: float):
    async def main() -> None:
        world = World()
        world.publish()
        async with world.running():
            worker = await world.started()
            await asyncio.sleep(30)
            world.machine.live.clear()
            world.change(
                lambda record: replace(record, lease=replace(record.lease, execution="run-2", task_token=""))
            )
            await asyncio.sleep(comes_after_s)
            world.machine.new_task("stadium", "task/2")
            await until(lambda: world.machine.beats[-1][1] == "task/2")
            await asyncio.sleep(60)
            assert worker.alive
            assert world.row().lease.generation == 1
            worker.exit(4)
            await until(lambda: bool(world.machine.reports))
            assert world.machine.reports[0][1] == "task/2"

    run_virtual(main())


def test_a_task_that_is_gone_and_has_no_successor_ends_the_worker():
    async def main() -> None:
        world = World()
        world.publish()
        async with world.running():
            worker = await world.started()
            await asyncio.sleep(30)
            world.machine.live.clear()
            gone = now_s()
            await until(lambda: not worker.alive)
            assert worker.killed_at_s is not None
            assert worker.killed_at_s - gone <= HEARTBEAT_S + 2 * PERIOD_S
            await asyncio.sleep(30)
            assert world.machine.reports == []

    run_virtual(main())


def test_the_timeline_is_in_the_row_as_soon_as_the_worker_has_one():
    async def main() -> None:
        world = World()
        world.publish()
        async with world.running():
            worker = await world.started()
            await asyncio.sleep(1)
            origin = {"utc_ns": 5, "media_offset_ns": -7, "delay_ms": 8_000, "generation": 1}
            worker.tell({"event": "timeline", "stream_id": "stadium", "origin": origin})
            await until(lambda: world.row().timeline == origin, bound_s=0.5)
            later = {**origin, "utc_ns": 6}
            worker.tell({"event": "timeline", "stream_id": "stadium", "origin": later})
            await until(lambda: world.row().timeline == later, bound_s=PERIOD_S + 1)
            last = {**later, "utc_ns": 7}
            worker.tell({"event": "timeline", "stream_id": "stadium", "origin": last})
            worker.exit(7)
            await until(lambda: bool(world.machine.reports))
            assert world.row().timeline == last

    run_virtual(main())


@pytest.mark.parametrize(
    ("code", "outcome", "detail"),
    [
        (4, "source_lost", "source_lost"),
        (3, "source_lost", "no_input"),
        (7, "crashed", "crashed"),
        (6, "crashed", "wedged"),
        (2, "crashed", "configuration"),
        (-9, "crashed", "SIGKILL"),
        (77, "crashed", "unknown exit code"),
        (0, "crashed", "nobody had asked"),
    ],
)
def test_a_workers_end_is_reported_by_its_exit_code(code: int, outcome: str, detail: str):
    async def main() -> None:
        world = World()
        world.publish()
        async with world.running():
            worker = await world.started()
            await asyncio.sleep(5)
            worker.exit(code)
            await until(lambda: bool(world.machine.reports), bound_s=1.0)
            _, _, report = world.machine.reports[0]
            assert (report.outcome, report.exit_code, report.host_draining) == (outcome, code, False)
            assert detail in report.detail
            await until(lambda: world.agent.used == 0)

    run_virtual(main())


def test_a_report_is_repeated_until_somebody_answers():
    async def main() -> None:
        world = World()
        world.publish()
        async with world.running():
            worker = await world.started()
            await asyncio.sleep(5)
            world.wires.refuse = True
            worker.exit(7)
            await asyncio.sleep(5)
            assert world.agent.used == 1
            world.wires.refuse = False
            await until(lambda: bool(world.machine.reports), bound_s=3.0)

    run_virtual(main())


def test_a_report_that_cannot_be_given_does_not_hold_its_slot_for_ever():
    async def main() -> None:
        world = World()
        world.publish()
        async with world.running():
            worker = await world.started()
            await asyncio.sleep(5)
            world.wires.hang = True
            worker.exit(7)
            await until(lambda: world.agent.used == 0, bound_s=2 * HEARTBEAT_S)

    run_virtual(main())


def test_a_report_whose_task_rolled_over_in_the_same_moment_finds_the_new_one():
    async def main() -> None:
        world = World()
        world.publish()
        async with world.running():
            worker = await world.started()
            await asyncio.sleep(30)
            world.agent._observe = lambda runs, rows: None  # nobody had seen it before the end
            world.machine.live.clear()
            world.machine.new_task("stadium", "task/2")
            worker.exit(4)
            await until(lambda: bool(world.machine.reports), bound_s=2.0)
            assert world.machine.reports[0][1] == "task/2"
            assert world.machine.beats[-1][1] != "task/2"

    run_virtual(main())


def test_a_report_for_a_generation_that_is_over_is_not_sent():
    async def main() -> None:
        world = World()
        world.publish()
        async with world.running():
            worker = await world.started()
            await asyncio.sleep(30)
            world.agent._observe = lambda runs, rows: None
            world.machine.live.clear()
            world.change(lambda record: replace(record, lease=replace(record.lease, generation=2)))
            world.machine.new_task("stadium", "task/2")
            worker.exit(4)
            await until(lambda: world.agent.used == 0, bound_s=5.0)
            assert world.machine.reports == []

    run_virtual(main())
