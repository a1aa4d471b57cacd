"""Real child processes: their lines, their end, the spare one, and what they inherit."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from media_edge.worker.agent.worker_pool import WorkerPool
from media_edge.worker.agent.worker_process import (
    WorkerProcess,
    WorkerStartError,
    worker_environment,
)
from tests.unit.media_edge.agent.waiting import BOUND_S, eventually

ECHO = """
import json, sys
print(json.dumps({"event": "ready"}), flush=True)
print("no json", flush=True)
print("[1]", flush=True)
for line in sys.stdin:
    print(json.dumps({"event": "heard", "line": json.loads(line)}), flush=True)
"""
LONG = """
import json
print("x" * 3_000_000, flush=True)
print(json.dumps({"event": "ready"}), flush=True)
input()
"""
GRANDCHILD = """
import subprocess, sys, json
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
print(json.dumps({"event": "ready", "child": child.pid}), flush=True)
sys.stdin.readline()
"""


def argv(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


async def start(code: str) -> tuple[WorkerProcess, asyncio.Queue[dict[str, Any]]]:
    events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    worker = await WorkerProcess.start(argv(code), worker_environment(os.environ))
    worker.listen(lambda event: events.put_nowait(dict(event)))
    return worker, events


async def heard(events: asyncio.Queue[dict[str, Any]], kind: str) -> dict[str, Any]:
    while True:
        event = await asyncio.wait_for(events.get(), BOUND_S)
        if event["event"] == kind:
            return event


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


async def gone(pid: int) -> None:
    await eventually(lambda: not is_alive(pid))


async def test_lines_go_in_and_come_out():
    worker, events = await start(ECHO)
    try:
        await heard(events, "ready")
        worker.send({"command": "drain"})
        assert (await heard(events, "heard"))["line"] == {"command": "drain"}
        assert worker.alive
    finally:
        await worker.aclose()
    assert not worker.alive
    worker.send({"command": "drain"})  # nobody minds


async def test_a_line_that_is_too_long_costs_itself_alone():
    worker, events = await start(LONG)
    try:
        await heard(events, "ready")
    finally:
        await worker.aclose()


async def test_a_killed_worker_takes_what_it_started_with_it():
    worker, events = await start(GRANDCHILD)
    child = (await heard(events, "ready"))["child"]
    worker.kill()
    assert await asyncio.wait_for(worker.wait(), BOUND_S) == -9
    await gone(child)


async def test_the_end_is_heard_though_a_grandchild_holds_the_pipe():
    worker, events = await start(GRANDCHILD)
    child = (await heard(events, "ready"))["child"]
    worker.send({})
    assert await asyncio.wait_for(worker.wait(), BOUND_S) == 0
    await gone(child)


async def test_a_program_that_is_missing_is_an_error():
    with pytest.raises(WorkerStartError, match="/nowhere/python"):
        await WorkerProcess.start(["/nowhere/python"], {})


def test_a_worker_inherits_its_settings_but_no_aws():
    inherited = worker_environment(
        {
            "PATH": "/bin",
            "WORKER_DELAY_MS": "4000",
            "STS_SERVICE_URL": "http://sts",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_ENDPOINT_URL": "http://localhost",
            "AGENT_WORK_QUEUE_URL": "http://queue",
            "LIVEDUB_API_TOKEN": "secret",
            "RELAY_SIGNING_KEY": "secret",
            "S3_SECRET_ACCESS_KEY": "secret",
            "LIBRARY_API_TOKEN": "secret",
            "DATABASE_URL": "secret",
        }
    )
    assert inherited == {"PATH": "/bin", "WORKER_DELAY_MS": "4000", "STS_SERVICE_URL": "http://sts"}


class Starts:
    def __init__(self, code: str = ECHO) -> None:
        self.code = code
        self.workers: list[WorkerProcess] = []

    async def __call__(self) -> WorkerProcess:
        self.workers.append(await WorkerProcess.start(argv(self.code), worker_environment(os.environ)))
        return self.workers[-1]

    async def aclose(self) -> None:
        for worker in self.workers:
            await worker.aclose()


async def test_the_spare_is_taken_and_replaced():
    starts = Starts()
    pool = WorkerPool(starts, keep_spare=True, refill_pause_s=0.05)
    pool.start()
    try:
        await eventually(lambda: pool.warm)
        first = await pool.take()
        assert first is starts.workers[0]
        await eventually(lambda: pool.warm)
        second = await pool.take()
        assert second is starts.workers[1]
        assert first.alive
        third = await pool.take()  # in quick succession: a fresh one
        assert third not in (first, second)
    finally:
        await pool.aclose()
        await starts.aclose()
    assert not any(worker.alive for worker in starts.workers)


async def test_without_a_spare_every_worker_is_fresh():
    starts = Starts()
    pool = WorkerPool(starts, keep_spare=False)
    pool.start()
    try:
        assert starts.workers == []
        await pool.take()
        assert len(starts.workers) == 1
        assert not pool.warm
    finally:
        await pool.aclose()
        await starts.aclose()


async def test_a_spare_that_dies_is_not_handed_out():
    starts = Starts()
    pool = WorkerPool(starts, keep_spare=True)
    pool.start()
    try:
        await eventually(lambda: pool.warm)
        starts.workers[0].kill()
        await eventually(lambda: not pool.warm)
        taken = await pool.take()
        assert taken is not starts.workers[0]
        assert taken.alive
    finally:
        await pool.aclose()
        await starts.aclose()


async def test_closing_ends_the_spare():
    starts = Starts()
    pool = WorkerPool(starts, keep_spare=True)
    pool.start()
    await eventually(lambda: pool.warm)
    await pool.aclose()
    assert not starts.workers[0].alive
