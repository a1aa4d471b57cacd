"""Both ways to the same service: the HTTP entry, and RunPod's queue with a worker behind it; each as real processes."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Protocol

import httpx

from livedub.sts.client import SpeechToSpeech, connect_sts
from tests.contract.runpod_rig import Process, RunpodRig, runpod_rig

BOUND_S = 60.0
KEY = "key-of-the-client-tests"
STALLS, FAILS, GARBAGE, WRONG_LENGTH, NOT_A_NUMBER, EMPTY, SLOW = 100, 200, 300, 301, 302, 303, 400
"""Sequence numbers, and what becomes of fragments with them."""
SLOW_MS = 600
SLOTS = 2
_SCRIPT = {
    STALLS: "stall:25000",
    FAILS: "error",
    GARBAGE: "garbage",
    WRONG_LENGTH: "wrong_length",
    NOT_A_NUMBER: "nan",
    EMPTY: "empty",
    SLOW: f"delay:{SLOW_MS}",
}
WORKER_SETTINGS = {
    "STS_PROFILE": "mock",
    "STS_MOCK_SCRIPT": ",".join(f"{number}:{action}" for number, action in _SCRIPT.items()),
    "STS_MAX_CONCURRENCY": str(SLOTS),
    "STS_QUEUE_SIZE": "1",
}
_STOPPED = re.compile(r"was stopped before its answer")


class Entry(Protocol):
    """One way in."""

    name: str

    def connect(self, *, api_key: str = KEY) -> SpeechToSpeech:
        """A new client."""
        ...

    async def busy(self, fragments: int) -> None:
        """Return when so many fragments are being worked on."""
        ...

    async def stopped(self, at_least: int = 0) -> int:
        """How many fragments the worker has dropped because nobody waits for them, once there are so many."""
        ...

    def kill(self) -> None:
        """End the service, or the worker, without warning."""
        ...


class HttpEntry:
    """`python -m gpu_handler serve`."""

    name = "http"

    def __init__(self, **settings: str) -> None:
        self._service = Process(
            ["gpu_handler", "serve", "--port", "0"], {**WORKER_SETTINGS, "STS_API_KEY": KEY, **settings}
        )
        self.url = ""

    def start(self) -> None:
        self.url = self._service.line("STS ready on").split()[3].rstrip(":")

    def stop(self) -> None:
        self._service.stop()

    def kill(self) -> None:
        self._service.kill()

    def connect(self, *, api_key: str = KEY) -> SpeechToSpeech:
        return connect_sts(self.url, api_key=api_key)

    async def busy(self, fragments: int) -> None:
        await self._reach(r"livedub_sts_running (\d+)", fragments)

    async def stopped(self, at_least: int = 0) -> int:
        return await self._reach(r'livedub_sts_requests_total\{outcome="cancelled"\} (\d+)', at_least)

    async def _reach(self, figure: str, at_least: int) -> int:
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as http:

            async def shown() -> int:
                found = re.search(figure, (await http.get("/metrics")).text)
                return int(found[1]) if found else 0

            return await _reach(shown, at_least)


class RunpodEntry:
    """`python -m gpu_handler runpod` behind the emulator."""

    name = "runpod"

    def __init__(self, rig: RunpodRig, **settings: str) -> None:
        self._rig = rig
        self._worker = rig.start_worker(**{**WORKER_SETTINGS, **settings})

    def kill(self) -> None:
        self._worker.kill()

    def connect(self, *, api_key: str = "") -> SpeechToSpeech:
        return connect_sts(self._rig.address, api_key=api_key or self._rig.key, runpod_base_url=self._rig.url)

    async def busy(self, fragments: int) -> None:
        await jobs_in_progress(self._rig, fragments)

    async def stopped(self, at_least: int = 0) -> int:
        async def dropped() -> int:
            return len(_STOPPED.findall(self._worker.output))

        return await _reach(dropped, at_least)


async def jobs_in_progress(rig: RunpodRig, jobs: int) -> None:
    """Return when the endpoint says that so many jobs are with workers."""
    async with httpx.AsyncClient(
        base_url=rig.url, headers={"authorization": f"Bearer {rig.key}"}, trust_env=False
    ) as http:

        async def shown() -> int:
            return (await http.get(f"/{rig.endpoint_id}/health")).json()["jobs"]["inProgress"]

        await _reach(shown, jobs)


async def _reach(figure: Callable[[], Awaitable[int]], at_least: int) -> int:
    """The figure once it is `at_least` so large."""
    until_s = time.monotonic() + BOUND_S
    while (now := await figure()) < at_least:
        assert time.monotonic() < until_s, f"it is {now} and was to become {at_least}"
        await asyncio.sleep(0.02)
    return now


@contextlib.contextmanager
def entry(name: str, folder: Path, **settings: str) -> Iterator[Entry]:
    """A running service reached by `name`: http or runpod; `settings` differ from the usual ones."""
    if name == "runpod":
        with runpod_rig(folder) as rig:
            yield RunpodEntry(rig, **settings)
        return
    http = HttpEntry(**settings)
    try:
        http.start()
        yield http
    finally:
        http.stop()


@contextlib.asynccontextmanager
async def connected(to: Entry, *, api_key: str = "") -> AsyncIterator[SpeechToSpeech]:
    """A client for the length of a block."""
    client = to.connect(api_key=api_key) if api_key else to.connect()
    try:
        yield client
    finally:
        await client.aclose()
