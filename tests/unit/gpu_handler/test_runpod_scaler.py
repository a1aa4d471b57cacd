"""What our scaler does otherwise than the one of RunPod's SDK: it never waits for the clock."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from runpod.serverless.modules import rp_scale

from gpu_handler.runpod_worker import _Hooks, _own_scaler, _platform_key_only, _Scaler

BOUND_S = 10.0
SLOTS = 2


class Platform:
    """RunPod's side: jobs that are asked for, and what became of them."""

    def __init__(self) -> None:
        self.waiting: deque[dict[str, Any]] = deque()
        self.arrived = asyncio.Event()
        self.asked: list[int] = []
        self.started: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.done: list[str] = []
        self.cancelled: list[str] = []
        self.changed = asyncio.Event()
        self.request_dropped = False

    def submit(self, *ids: str) -> None:
        self.waiting.extend({"id": job_id, "input": {}} for job_id in ids)
        self.arrived.set()

    async def fetch(self, _session: Any, most: int) -> list[dict[str, Any]]:
        self.asked.append(most)
        try:
            while not self.waiting:
                self.arrived.clear()
                await self.arrived.wait()
        except asyncio.CancelledError:
            self.request_dropped = True
            self.changed.set()
            raise
        return [self.waiting.popleft() for _ in range(min(most, len(self.waiting)))]

    async def work(self, _session: Any, _config: dict[str, Any], job: dict[str, Any]) -> None:
        self.started.append(job["id"])
        gate = self.gates[job["id"]] = asyncio.Event()
        self.changed.set()
        try:
            await gate.wait()
            self.done.append(job["id"])
        except asyncio.CancelledError:
            self.cancelled.append(job["id"])
            raise
        finally:
            self.changed.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async def wait() -> None:
            while not holds():
                self.changed.clear()
                await self.changed.wait()

        await asyncio.wait_for(wait(), BOUND_S)


@pytest.fixture
async def platform(monkeypatch: pytest.MonkeyPatch) -> Platform:
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        assert seconds == 0, f"the loop waited {seconds} s for the clock"
        await real(0)

    monkeypatch.setattr(rp_scale.asyncio, "sleep", sleep)
    return Platform()


@pytest.fixture
async def scaler(platform: Platform) -> AsyncIterator[_Scaler]:
    started = asyncio.Event()

    async def stop(jobs: set[asyncio.Task[None]]) -> None:
        if jobs:
            await asyncio.wait(jobs)

    async def no_stops(_session: Any) -> list[str]:
        return await asyncio.get_running_loop().create_future()

    made = _Scaler(_Hooks(started.set, stop), {"concurrency_modifier": lambda _: SLOTS})
    made.jobs_fetcher, made.jobs_handler, made.stop_signals_fetcher = platform.fetch, platform.work, no_stops
    running = asyncio.create_task(made.run())
    await asyncio.wait_for(started.wait(), BOUND_S)
    yield made
    made.kill_worker()
    platform.waiting.clear()
    for job_id in platform.started:
        platform.gates[job_id].set()
    await asyncio.wait_for(running, BOUND_S)
    assert made.job_progress.get_job_count() == 0


async def test_a_job_starts_as_soon_as_it_is_fetched(platform: Platform, scaler: _Scaler):
    platform.submit("a")
    await platform.until(lambda: platform.started == ["a"])
    platform.submit("b")  # while another runs
    await platform.until(lambda: platform.started == ["a", "b"])


async def test_it_asks_for_as_many_jobs_as_it_has_slots(platform: Platform, scaler: _Scaler):
    platform.submit("a", "b", "c")
    await platform.until(lambda: platform.started == ["a", "b"])
    assert platform.asked == [2]
    assert [job["id"] for job in platform.waiting] == ["c"]


async def test_the_next_job_is_asked_for_when_a_slot_is_free(platform: Platform, scaler: _Scaler):
    platform.submit("a", "b", "c")
    await platform.until(lambda: platform.started == ["a", "b"])
    platform.gates["b"].set()
    await platform.until(lambda: platform.started == ["a", "b", "c"])
    assert platform.asked == [2, 1]


async def test_a_stopped_job_frees_its_slot(platform: Platform, scaler: _Scaler):
    platform.submit("a", "b", "c")
    await platform.until(lambda: platform.started == ["a", "b"])
    assert await scaler.stop_job("a")
    await platform.until(lambda: platform.started == ["a", "b", "c"])
    assert platform.cancelled == ["a"]


async def test_stopping_drops_the_open_request_and_lets_jobs_end(platform: Platform, scaler: _Scaler):
    platform.submit("a")
    await platform.until(lambda: platform.started == ["a"])
    scaler.kill_worker()
    await platform.until(lambda: platform.request_dropped)
    platform.submit("late")
    platform.gates["a"].set()
    await platform.until(lambda: platform.done == ["a"])
    assert [job["id"] for job in platform.waiting] == ["late"]


async def test_a_job_that_fails_costs_no_slot(platform: Platform, scaler: _Scaler):
    failed: list[str] = []

    async def broken(_session: Any, _config: dict[str, Any], job: dict[str, Any]) -> None:
        failed.append(job["id"])
        platform.changed.set()
        raise ZeroDivisionError

    scaler.jobs_handler = broken
    platform.submit("x", "y", "z")
    await platform.until(lambda: failed == ["x", "y", "z"])
    scaler.jobs_handler = platform.work
    platform.submit("a", "b")
    await platform.until(lambda: platform.started == ["a", "b"])


def test_the_sdk_gets_its_own_parts_back():
    theirs = rp_scale.JobScaler

    async def stop(_jobs: set[asyncio.Task[None]]) -> None:
        """Nothing runs."""

    with _own_scaler(_Hooks(lambda: None, stop)):
        assert isinstance(rp_scale.JobScaler({"concurrency_modifier": lambda _: 3}), _Scaler)
    assert rp_scale.JobScaler is theirs


def test_the_key_that_the_platform_gave_is_presented(monkeypatch: pytest.MonkeyPatch):
    from runpod import http_client  # noqa: PLC0415 - beside what it checks

    monkeypatch.setattr(http_client, "get_credentials", lambda: {"api_key": "of-the-user"})
    monkeypatch.setenv("RUNPOD_AI_API_KEY", "of-the-platform")
    assert http_client.get_auth_header()["Authorization"] == "of-the-user"
    with _platform_key_only():
        assert http_client.get_auth_header()["Authorization"] == "of-the-platform"
