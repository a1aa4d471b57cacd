from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from livedub.timeline.clock import NS_PER_MS, NS_PER_S
from media_edge.worker.endpoints import parse_endpoint
from media_edge.worker.forward_process import ForwardProcess
from media_edge.worker.forwarder import ForwardExit, ForwardLimits, without_query

LIMITS = ForwardLimits(no_source_ns=60 * NS_PER_S, grace_ns=10 * NS_PER_S, destination_ns=30 * NS_PER_S)
BOUND_S = 10.0


class Source:
    def __init__(self, *, received: bool, absent_s: float) -> None:
        self.ever_received = received
        self._absent_ns = int(absent_s * NS_PER_S)

    def absent_for_ns(self, now_ns: int) -> int:
        return self._absent_ns


@pytest.mark.parametrize(
    ("received", "absent_s", "failing_s", "verdict"),
    [
        (False, 59, 0, None),
        (False, 61, 0, ForwardExit.NO_SOURCE),
        (True, 9, 0, None),
        (True, 11, 0, ForwardExit.SOURCE_LOST),
        (True, 0, 29, None),
        (True, 0, 31, ForwardExit.DESTINATION_FAILED),
    ],
)
def test_each_limit_has_its_own_code(
    received: bool, absent_s: float, failing_s: int, verdict: ForwardExit | None
):
    source = Source(received=received, absent_s=absent_s)
    assert LIMITS.verdict(source, failing_s * NS_PER_S, 0) is verdict


def test_exit_codes_are_stable():
    assert [int(code) for code in ForwardExit] == [0, 10, 20, 30, 40, 50]


def test_the_publish_token_is_not_used_to_play():
    endpoint = parse_endpoint("X", "rtmp://h/live/s/out?token=secret", ("rtmp",))
    assert without_query(endpoint).playpath == "s/out"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(BOUND_S):
        while not condition():  # noqa: ASYNC110 - what is waited for is another process
            await asyncio.sleep(0.01)


async def test_a_child_that_fails_is_started_again(caplog: pytest.LogCaptureFixture):
    process = ForwardProcess(
        [sys.executable, "-c", "raise SystemExit(40)"],
        environment=os.environ,
        restart_pause_ns=10 * NS_PER_MS,
    )
    process.start()
    await until(lambda: process.starts >= 3)
    await process.aclose()
    assert any("code 40" in record.message for record in caplog.records)


async def test_a_child_with_wrong_settings_is_not_started_again():
    process = ForwardProcess(
        [sys.executable, "-c", "raise SystemExit(10)"], environment=os.environ, restart_pause_ns=NS_PER_MS
    )
    process.start()
    await until(lambda: process._task is not None and process._task.done())
    assert process.starts == 1
    await process.aclose()


async def test_a_program_that_is_missing_is_a_log_line(caplog: pytest.LogCaptureFixture):
    process = ForwardProcess(["/nowhere/forward"], environment=os.environ, restart_pause_ns=10 * NS_PER_MS)
    process.start()
    await until(lambda: any("cannot be started" in record.message for record in caplog.records))
    await process.aclose()
    assert process.starts == 0


async def test_closing_ends_a_child_that_ignores_sigterm(tmp_path: Path):
    ready = tmp_path / "ready"
    code = (
        "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    )
    process = ForwardProcess([sys.executable, "-c", code], environment=os.environ)
    process.start()
    await until(ready.exists)
    async with asyncio.timeout(BOUND_S):
        await process.aclose()
