"""What operators and hosts ask of running streams."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from livedub.supervision import desire, stream_settings
from tests.unit.media_edge.agent.agent_world import DELAY_S, World, now_ms, now_s, until
from tests.unit.media_edge.agent.virtual_loop import run_virtual


@pytest.mark.parametrize("order", [desire.drain, desire.stop])
def test_an_operators_drain_or_stop_plays_out_and_is_reported(order: Any):
    async def main() -> None:
        world = World()
        world.publish()
        async with world.running():
            worker = await world.started()
            await asyncio.sleep(10)
            world.change(lambda record: order(record, now_ms()))
            asked = now_s()
            await until(lambda: bool(world.machine.reports))
            assert now_s() - asked <= 2.0 + DELAY_S
            assert worker.lines[1:] == [{"command": "drain"}]
            _, _, report = world.machine.reports[0]
            assert (report.outcome, report.exit_code, report.host_draining) == ("drained", 0, False)
            assert worker.killed_at_s is None

    run_virtual(main())


def test_hot_settings_reach_the_worker():
    async def main() -> None:
        world = World()
        world.publish(settings={"target_language": "en", "dub_gain_db": -3.0})
        async with world.running():
            worker = await world.started()
            await asyncio.sleep(10)
            patch = {"target_language": "de", "glossary": {"gol": "Tor"}, "dub_gain_db": None}
            world.change(lambda record: stream_settings.change(record, patch, restart=False, now_ms=now_ms()))
            await until(lambda: len(worker.lines) > 1, bound_s=1.2)
            # A field taken back has this host's default again.
            assert worker.lines[1] == {
                "command": "settings",
                "settings": {"target_language": "de", "glossary": {"gol": "Tor"}, "dub_gain_db": 0.0},
            }
            await asyncio.sleep(30)
            assert len(worker.lines) == 2
            assert worker.alive

    run_virtual(main())


def test_a_worker_is_told_its_services_at_first_and_whenever_they_change():
    async def main() -> None:
        world = World()
        world.shared = {"STS_SERVICE_URL": "runpod://one"}
        world.publish()
        async with world.running():
            worker = await world.started()
            assert worker.lines[0]["services"] == {"STS_SERVICE_URL": "runpod://one"}
            world.agent.hand_over({"STS_SERVICE_URL": "runpod://two"})
            assert worker.lines[1:] == [
                {"command": "services", "services": {"STS_SERVICE_URL": "runpod://two"}}
            ]
            await asyncio.sleep(30)
            assert worker.alive

    run_virtual(main())


def test_settings_that_need_a_restart_end_the_worker_for_another_one():
    async def main() -> None:
        world = World()
        world.publish()
        async with world.running():
            worker = await world.started()
            await asyncio.sleep(10)
            world.change(
                lambda record: stream_settings.change(
                    record, {"delay_ms": 5_000, "voice": "en/a"}, restart=True, now_ms=now_ms()
                )
            )
            await until(lambda: bool(world.machine.reports))
            _, _, report = world.machine.reports[0]
            assert (report.outcome, report.host_draining) == ("drained", True)
            assert "delay_ms" in report.detail
            assert worker.lines[1:] == [{"command": "drain"}]

    run_virtual(main())


def test_settings_this_host_cannot_use_change_nothing(caplog: pytest.LogCaptureFixture):
    async def main() -> None:
        world = World()
        world.publish(settings={"target_language": "en"})
        async with world.running():
            worker = await world.started()
            world.change(
                lambda record: replace(record, settings={"target_language": "English!"}, settings_revision=1)
            )
            await asyncio.sleep(30)
            assert (len(worker.lines), worker.alive) == (1, True)
        assert "Settings revision 1 cannot be used" in caplog.text

    run_virtual(main())


def test_a_draining_host_hands_its_streams_on_and_takes_no_more():
    async def main() -> None:
        world = World()
        world.publish("a")
        world.publish("b")
        async with world.running() as task:
            await world.started(2)
            for worker in world.pool.workers:
                worker.state = "live"
            await asyncio.sleep(10)
            world.agent.drain("the agent is being stopped")
            world.publish("c")
            await asyncio.wait_for(task, 30)
            assert (
                sorted(
                    (report.outcome, report.host_draining, report.exit_code)
                    for _, _, report in world.machine.reports
                )
                == [("drained", True, 0)] * 2
            )
            assert len(world.pool.workers) == 2
            assert world.queue.deleted[2:] == []
            assert world.machine.claims == ["host-1", "host-1"]

    run_virtual(main())


def test_work_that_a_last_look_into_the_queue_brings_goes_back_at_once():
    async def main() -> None:
        world = World()
        message = world.publish()
        receive = world.queue.receive

        def draining_meanwhile(count: int, wait_s: int):
            world.agent.drain("now")
            return receive(count, wait_s)

        world.queue.receive = draining_meanwhile
        async with world.running() as task:
            await asyncio.wait_for(task, 30)
        assert (world.queue.given_back, world.queue.deleted) == ([message], [])
        assert world.pool.workers == []

    run_virtual(main())


def test_work_that_was_claimed_when_the_drain_came_goes_elsewhere_unstarted():
    async def main() -> None:
        world = World()
        world.machine.supervises = False
        world.publish()
        async with world.running() as task:
            await until(lambda: bool(world.machine.claims))
            world.agent.drain("now")
            world.machine.new_task("stadium", "task/stadium/1")
            await asyncio.wait_for(task, 30)
        _, _, report = world.machine.reports[0]
        assert (report.outcome, report.host_draining) == ("drained", True)
        assert world.pool.workers == []

    run_virtual(main())


def test_a_worker_that_does_not_drain_in_time_is_killed():
    async def main() -> None:
        world = World(drain_timeout_s=10.0)
        world.publish()
        async with world.running() as task:
            worker = await world.started()
            worker.deaf = True
            await asyncio.sleep(10)
            world.agent.drain("now")
            asked = now_s()
            await asyncio.wait_for(task, 30)
            assert worker.killed_at_s is not None
            assert worker.killed_at_s == pytest.approx(asked + 10.0, abs=0.3)
            _, _, report = world.machine.reports[0]
            assert (report.outcome, report.host_draining) == ("drained", True)

    run_virtual(main())


@pytest.mark.parametrize("deaf", [False, True])
def test_stopping_does_not_wait_for_what_is_buffered(deaf: bool):
    async def main() -> None:
        world = World()
        world.publish()
        async with world.running() as task:
            worker = await world.started()
            worker.deaf = deaf
            await asyncio.sleep(10)
            world.agent.drain("stopped")
            await asyncio.sleep(0.1)
            world.agent.stop("stopped again")
            asked = now_s()
            await until(lambda: bool(world.machine.reports))
            assert now_s() - asked < 2.5
            assert world.machine.reports[0][2].host_draining
            await asyncio.wait_for(task, 10)

    run_virtual(main())


def test_draining_streams_keep_their_leases_until_the_end():
    async def main() -> None:
        world = World(drain_timeout_s=60.0)
        world.publish()
        async with world.running():
            worker = await world.started()
            worker.deaf = True  # takes its time
            await asyncio.sleep(10)
            world.agent.drain("now")
            await asyncio.sleep(40)
            assert worker.alive
            assert world.machine.beats[-1][0] > now_s() - 6

    run_virtual(main())
