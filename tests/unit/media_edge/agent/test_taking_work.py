"""From the queue to a running worker, and everything that must start none."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from livedub.supervision.record import Phase
from tests.unit.media_edge.agent.agent_world import AGENT, HEARTBEAT_S, World, sha256, until
from tests.unit.media_edge.agent.virtual_loop import run_virtual


def test_claimed_work_is_bound_and_its_worker_told_everything():
    async def main() -> None:
        world = World()
        message = world.publish(
            settings={"target_language": "de", "delay_ms": 6_000},
            timeline={"utc_ns": 1, "media_offset_ns": 2, "delay_ms": 6_000, "generation": 0},
        )
        async with world.running():
            worker = await world.started()
            lease = world.row().lease
            assert (lease.phase, lease.agent_id, lease.generation) == (Phase.RUNNING, AGENT, 1)
            assert lease.publish_token_hash == sha256(worker.token)
            assert len(worker.token) >= 43  # 32 random bytes
            assert worker.lines[0]["timeline"] == world.row().timeline
            assert worker.settings == {
                "stream_id": "stadium",
                "generation": 1,
                "input_url": "rtmp://media:1935/live/stadium/in",
                "output_url": f"rtmp://media:1936/live/stadium/out?token={worker.token}",
                "target_language": "de",
                "delay_ms": 6_000,
                "metrics_port": 0,
                "die_with_parent": True,
            }
            await until(lambda: world.queue.deleted == [message])
            assert world.machine.claims == [AGENT]
            assert world.agent.used == 1

    run_virtual(main())


def test_the_publish_token_shows_up_nowhere_but_on_the_workers_stdin(caplog: pytest.LogCaptureFixture):
    async def main() -> None:
        world = World()
        world.publish()
        with caplog.at_level("DEBUG"):
            async with world.running():
                worker = await world.started()
                await asyncio.sleep(30)
                worker.exit(7)
                await until(lambda: bool(world.machine.reports))
        assert worker.token not in caplog.text
        assert worker.token not in repr(world.row())
        assert worker.token not in repr(world.machine.reports)
        assert worker.token not in repr(vars(world.agent))

    run_virtual(main())


def test_a_message_delivered_twice_starts_one_worker():
    async def main() -> None:
        world = World()
        first = world.publish()
        again = world.queue.put(first.body)
        async with world.running():
            await world.started()
            await asyncio.sleep(20)
            assert len(world.pool.workers) == 1
            assert sorted(m.receipt for m in world.queue.deleted) == sorted([first.receipt, again.receipt])
            assert world.agent.used == 1

    run_virtual(main())


def test_a_message_whose_task_is_over_is_deleted_and_starts_nothing():
    async def main() -> None:
        world = World()
        message = world.publish()
        world.machine.live.clear()
        async with world.running():
            await until(lambda: world.queue.deleted == [message])
            await asyncio.sleep(5)
            assert (world.pool.workers, world.agent.used) == ([], 0)
            assert world.row().lease.phase is Phase.WAITING_CAPACITY

    run_virtual(main())


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        '{"claim_token": "", "work": {}}',
        '{"claim_token": "t", "work": {"stream_id": "a"}, "more": 1}',
    ],
)
def test_a_malformed_message_is_left_to_the_dead_letters(body: str, caplog: pytest.LogCaptureFixture):
    async def main() -> None:
        world = World()
        world.queue.put(body)
        async with world.running():
            await asyncio.sleep(5)
            assert (world.queue.deleted, world.queue.given_back, world.agent.used) == ([], [], 0)
        assert "dead letters" in caplog.text

    run_virtual(main())


def test_a_malformed_message_does_not_put_its_token_into_the_log(caplog: pytest.LogCaptureFixture):
    async def main() -> None:
        world = World()
        world.queue.put(json.dumps({"claim_token": "very-secret", "work": {"stream_id": "a"}}))
        async with world.running():
            await asyncio.sleep(2)
        assert "work.generation" in caplog.text
        assert "very-secret" not in caplog.text

    run_virtual(main())


def test_a_claim_whose_answer_got_lost_still_starts_exactly_one_worker():
    async def main() -> None:
        world = World()
        world.wires.lose_answers_of = "Claiming work"
        world.publish()
        async with world.running():
            await world.started()
            await asyncio.sleep(20)
            assert len(world.pool.workers) == 1
            assert world.machine.claims == [AGENT]
            assert world.row().lease.phase is Phase.RUNNING

    run_virtual(main())


def test_a_lost_answer_and_another_agents_claim_start_nothing_here():
    async def main() -> None:
        world = World()
        message = world.publish()
        async with world.running():
            world.wires.refuse_only = "Claiming work"
            await until(lambda: "Claiming work" in world.wires.names)
            world.machine.live.clear()  # somebody else claimed it ...
            world.change(
                lambda record: replace(
                    record, lease=replace(record.lease, phase=Phase.CLAIMED, agent_id="host-2")
                )
            )  # ... and its row
            world.wires.refuse_only = ""
            await until(lambda: message in world.queue.deleted or message in world.queue.given_back)
            await asyncio.sleep(20)
            assert (world.pool.workers, world.agent.used) == ([], 0)
            assert world.row().lease.agent_id == "host-2"

    run_virtual(main())


def test_work_that_nobody_lets_us_claim_goes_back_to_the_queue():
    async def main() -> None:
        world = World()
        message = world.publish()
        async with world.running():
            world.wires.refuse_only = "Claiming work"
            await until(lambda: world.queue.given_back == [message])
            assert (world.queue.deleted, world.pool.workers, world.agent.used) == ([], [], 0)

    run_virtual(main())


def test_without_a_task_token_nothing_starts_and_the_slot_is_free_again():
    async def main() -> None:
        world = World()
        world.machine.supervises = False
        world.publish()
        async with world.running():
            await until(lambda: world.row().lease.phase is Phase.CLAIMED)
            await asyncio.sleep(HEARTBEAT_S + 1)
            assert (world.pool.workers, world.agent.used) == ([], 0)

    run_virtual(main())


def test_a_generation_that_is_over_before_its_token_comes_starts_nothing():
    async def main() -> None:
        world = World()
        world.machine.supervises = False
        world.publish()
        async with world.running():
            await until(lambda: world.row().lease.phase is Phase.CLAIMED)
            world.change(lambda record: replace(record, lease=replace(record.lease, generation=2)))
            await until(lambda: world.agent.used == 0, bound_s=2.0)
            assert world.pool.workers == []

    run_virtual(main())


def test_the_queue_is_asked_only_for_as_much_as_there_are_slots():
    async def main() -> None:
        world = World(slots=2)
        for name in ("a", "b", "c"):
            world.publish(name)
        async with world.running():
            await world.started(2)
            await asyncio.sleep(30)
            assert len(world.pool.workers) == 2
            assert max(world.queue.polls) == 2
            asked = len(world.queue.polls)
            await asyncio.sleep(30)
            assert len(world.queue.polls) == asked
            world.pool.workers[0].exit(4)
            await world.started(3)
            assert world.queue.polls[asked:] == [1]
            assert {worker.settings["stream_id"] for worker in world.pool.workers} == {"a", "b", "c"}

    run_virtual(main())


def test_a_worker_that_cannot_be_started_is_reported():
    async def main() -> None:
        world = World()
        world.pool.fails = True
        world.publish()
        async with world.running():
            await until(lambda: bool(world.machine.reports))
            _, _, report = world.machine.reports[0]
            assert (report.outcome, report.detail) == ("crashed", "no program")
            await until(lambda: world.agent.used == 0)

    run_virtual(main())


def test_a_queue_that_does_not_answer_is_asked_again():
    async def main() -> None:
        world = World()
        world.wires.refuse = True
        world.publish()
        async with world.running():
            await asyncio.sleep(30)
            world.wires.refuse = False
            await world.started()

    run_virtual(main())
