from __future__ import annotations

import asyncio
import logging

import pytest

from livedub.sts.errors import StsUnavailable
from media_edge.worker.sts_warm_up import StsWarmUp
from tests.unit.livedub.sts.exchanges import success
from tests.unit.livedub.sts.test_client import ScriptedSts

BOUND_S = 10.0


class SlowSts(ScriptedSts):
    def __init__(self, failure: Exception | None = None) -> None:
        super().__init__(success())
        self.asked_to = asyncio.Event()
        self.go_on = asyncio.Event()
        self.over = asyncio.Event()
        self.failure = failure

    async def warm_up(self, *, timeout_ms: int) -> None:
        await super().warm_up(timeout_ms=timeout_ms)
        self.asked_to.set()
        try:
            await self.go_on.wait()
            if self.failure is not None:
                raise self.failure
        finally:
            self.over.set()


async def test_it_runs_beside_the_stream_and_once():
    sts = SlowSts()
    warm_up = StsWarmUp(sts, 700)
    warm_up.start()
    warm_up.start()
    await asyncio.wait_for(sts.asked_to.wait(), BOUND_S)
    assert sts.warmed_ms == 700
    sts.go_on.set()
    await asyncio.wait_for(sts.over.wait(), BOUND_S)
    await warm_up.aclose()


async def test_closing_ends_it():
    sts = SlowSts()
    warm_up = StsWarmUp(sts, 700)
    warm_up.start()
    await asyncio.wait_for(sts.asked_to.wait(), BOUND_S)
    await asyncio.wait_for(warm_up.aclose(), BOUND_S)
    assert sts.over.is_set()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_service_that_stays_asleep_is_told(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING)
    sts = SlowSts(StsUnavailable("nobody answers."))
    sts.go_on.set()
    warm_up = StsWarmUp(sts, 700)
    warm_up.start()
    await asyncio.wait_for(sts.over.wait(), BOUND_S)
    await asyncio.sleep(0)
    await warm_up.aclose()
    assert "nobody answers" in caplog.text


async def test_0_ms_and_never_started_do_nothing():
    sts = SlowSts()
    warm_up = StsWarmUp(sts, 0)
    warm_up.start()
    await warm_up.aclose()
    assert not sts.asked_to.is_set()
