"""What the auto-scaling group hears of a host, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from media_edge.worker.agent.fleet_member import FleetHooks, FleetMember, FleetPace
from media_edge.worker.agent.load_client import HostLoad
from media_edge.worker.agent.ports import GroupRefusedError
from tests.unit.media_edge.agent.agent_world import Wires, now_s
from tests.unit.media_edge.agent.virtual_loop import run_virtual

HOOKS = FleetHooks(launch="ready", end="drain")


class Group:
    def __init__(self) -> None:
        self.waits = True
        self.heard: list[tuple[str, object]] = []
        self.beats_at_s: list[float] = []

    def protect(self, *, protected: bool) -> None:
        self.heard.append(("protect", protected))

    def beat(self, hook: str) -> None:
        self.beats_at_s.append(now_s())
        self.heard.append(("beat", hook))

    def complete(self, hook: str) -> None:
        if not self.waits:
            raise GroupRefusedError("No active Lifecycle Action found")
        self.heard.append(("complete", hook))


class Host:
    def __init__(self, hooks: FleetHooks = HOOKS) -> None:
        self.group = Group()
        self.wires = Wires()
        self.used = 0
        self.draining = False
        self.reports: list[HostLoad] = []
        self.member = FleetMember(
            self.group,
            self.reports.append,
            lambda: HostLoad(4, self.used, self.draining),
            self.wires,
            hooks=hooks,
            pace=FleetPace(),
        )

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        task = asyncio.create_task(self.member.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def test_a_host_is_protected_exactly_while_it_has_streams():
    async def main() -> None:
        host = Host()
        async with host.running():
            for used, protected in ((0, False), (2, True), (1, True), (0, False)):
                host.used = used
                await asyncio.sleep(5)
                assert host.group.heard[-1] == ("protect", protected)
        assert [protected for _, protected in host.group.heard] == [False, True, False]

    run_virtual(main())


def test_a_protection_that_was_refused_is_asked_for_again(caplog: pytest.LogCaptureFixture):
    async def main() -> None:
        host = Host()
        host.used, host.wires.refuse = 1, True
        async with host.running():
            await asyncio.sleep(60)
            assert host.group.heard == []
            host.wires.refuse = False
            await asyncio.sleep(6)
        assert host.group.heard == [("protect", True)]

    run_virtual(main())
    assert caplog.text.count("Protecting this host failed") == 1


def test_a_draining_host_asks_for_time_until_it_is_empty():
    async def main() -> None:
        host = Host()
        host.used = 2
        async with host.running():
            await asyncio.sleep(30)
            assert host.group.beats_at_s == []
            host.draining = True
            await asyncio.sleep(200)
            gaps = [
                after - before
                for before, after in zip(host.group.beats_at_s, host.group.beats_at_s[1:], strict=False)
            ]
            assert len(gaps) == 3
            assert all(gap <= 61 for gap in gaps)
            host.used = 0
            await host.member.drained()
        assert host.group.heard[-1] == ("complete", "drain")

    run_virtual(main())


def test_a_host_that_was_stopped_but_stays_may_be_scaled_in():
    async def main() -> None:
        host = Host(FleetHooks())
        host.used = 1
        async with host.running():
            await asyncio.sleep(5)
            await host.member.drained()
        assert host.group.heard[-1] == ("protect", False)

    run_virtual(main())


def test_a_host_is_in_service_when_it_says_so():
    async def main() -> None:
        host, without = Host(), Host(FleetHooks(end="drain"))
        for each in (host, without):
            await each.member.in_service()
        assert host.group.heard == [("complete", "ready")]
        assert without.group.heard == []

    run_virtual(main())


def test_a_host_whose_word_was_lost_says_it_again():
    async def main() -> None:
        host = Host()
        host.wires.refuse = True
        told = asyncio.create_task(host.member.in_service())
        await asyncio.sleep(12)
        assert host.group.heard == []
        host.wires.refuse = False
        await told
        assert host.group.heard == [("complete", "ready")]

    run_virtual(main())


@pytest.mark.parametrize(("refused", "longest_s"), [(True, 1), (False, 40)])
def test_nobody_insists_for_ever(refused: bool, longest_s: float):
    async def main() -> None:
        host = Host()
        host.group.waits, host.wires.refuse = False, not refused
        began = now_s()
        await host.member.in_service()
        assert now_s() - began < longest_s

    run_virtual(main())


def test_an_agent_that_is_stopped_leaves_no_protection_behind():
    async def main() -> None:
        host = Host()
        host.used, host.group.waits = 1, False
        async with host.running():
            await asyncio.sleep(5)
            await host.member.drained()
        assert host.group.heard[-1] == ("protect", False)

    run_virtual(main())


def test_the_load_is_reported_every_minute_whatever_happens():
    async def main() -> None:
        host = Host()
        async with host.running():
            await asyncio.sleep(1)
            host.used, host.wires.refuse_only = 3, "Protecting"
            await asyncio.sleep(181)
        assert [load.used for load in host.reports] == [0, 3, 3, 3]

    run_virtual(main())


def test_outside_of_a_group_only_the_load_is_told():
    async def main() -> None:
        reports: list[HostLoad] = []
        member = FleetMember(
            None,
            reports.append,
            lambda: HostLoad(1, 0, draining=False),
            Wires(),
            hooks=FleetHooks(),
            pace=FleetPace(),
        )
        task = asyncio.create_task(member.run())
        await asyncio.sleep(61)
        await member.in_service()
        await member.drained()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert len(reports) == 2

    run_virtual(main())
