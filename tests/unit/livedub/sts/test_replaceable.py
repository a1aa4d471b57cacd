from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any, cast

import pytest

from livedub.sts.breaker import BreakerState
from livedub.sts.contract import Health, StsRequest, StsResult
from livedub.sts.replaceable import ReplaceableSts

REQUEST = cast("StsRequest", object())


class Service:
    """Answers with its own name, when it is let."""

    def __init__(self, name: str, *, hold: bool = False) -> None:
        self.name = name
        self.breaker_state = BreakerState.CLOSED
        self.may_answer = asyncio.Event()
        self.asked = asyncio.Event()
        self.closed = 0
        if not hold:
            self.may_answer.set()

    async def process(self, request: StsRequest, on_partial: Any = None) -> StsResult:
        self.asked.set()
        await self.may_answer.wait()
        assert not self.closed, "closed while a request was under way"
        return cast("StsResult", self.name)

    async def health(self) -> Health:
        return cast("Health", self.name)

    async def warm_up(self, *, timeout_ms: int) -> None:
        self.asked.set()

    async def aclose(self) -> None:
        self.closed += 1


async def settled(sts: ReplaceableSts) -> None:
    await asyncio.wait_for(asyncio.gather(*sts._closing), 10)


async def test_a_request_ends_where_it_was_begun():
    old, new = Service("old", hold=True), Service("new")
    sts = ReplaceableSts(old)
    begun = asyncio.create_task(sts.process(REQUEST))
    await old.asked.wait()
    sts.replace(new)
    assert cast("str", await sts.process(REQUEST)) == "new"
    assert old.closed == 0
    old.may_answer.set()
    assert cast("str", await begun) == "old"
    await settled(sts)
    assert (old.closed, new.closed) == (1, 0)
    await sts.aclose()
    assert new.closed == 1


async def test_an_idle_service_is_closed_at_once():
    old, new = Service("old"), Service("new")
    sts = ReplaceableSts(old)
    await sts.process(REQUEST)
    sts.replace(new)
    await settled(sts)
    assert old.closed == 1
    assert cast("str", await sts.health()) == "new"
    new.breaker_state = BreakerState.OPEN
    assert sts.breaker_state is BreakerState.OPEN
    await sts.warm_up(timeout_ms=1)
    assert new.asked.is_set()


@pytest.mark.parametrize("times", [1, 3])
async def test_closing_ends_those_before_too(times: int):
    services = [Service(str(number), hold=True) for number in range(times + 1)]
    sts = ReplaceableSts(services[0])
    begun: list[asyncio.Task[StsResult]] = []
    for before, after in pairwise(services):
        begun.append(asyncio.create_task(sts.process(REQUEST)))
        await before.asked.wait()
        sts.replace(after)
    # Let the closings reach the point where they wait.
    await asyncio.sleep(0)
    await sts.aclose()
    assert [service.closed for service in services] == [1] * (times + 1)
    for task in begun:
        task.cancel()
    await asyncio.gather(*begun, return_exceptions=True)
