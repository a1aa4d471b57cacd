"""The keeper with a media server and workers that do as told: who gets a worker, and when."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from livedub.errors import LivedubError
from local import stack
from local.media_servers.base import StreamPath
from local.stack import Stack, WorkerKeeper


class FakeChild:
    """A worker; `end` makes it exit."""

    def __init__(self, stream_id: str) -> None:
        self.stream_id = stream_id
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def end(self, code: int) -> None:
        self._code.set_result(code)

    async def wait(self) -> int:
        return await asyncio.shield(self._code)

    def describe_end(self) -> str:
        return f"worker of {self.stream_id} ended"


class FakeStack:
    """As much of a stack as a keeper touches."""

    def __init__(self) -> None:
        self.published: set[str] = set()
        self.server = self
        self.supervisor = self
        self.workers: list[FakeChild] = []
        self.failing: LivedubError | None = None
        self.looks = 0

    async def paths(self) -> list[StreamPath]:
        self.looks += 1
        return [StreamPath(name, "in") for name in sorted(self.published)] + [StreamPath("elsewhere", "out")]

    async def start_worker(
        self, stream_id: str, on_event: Callable[[dict[str, Any]], None], *, events_path: Path
    ):
        if self.failing is not None:
            raise self.failing
        self.workers.append(FakeChild(stream_id))
        on_event({"event": "state", "state": "waiting"})
        return self.workers[-1]

    async def stop(self, child: FakeChild) -> None:
        assert child in self.workers

    async def looked_again(self) -> None:
        target = self.looks + 10  # plenty for whatever a look sets going
        async with asyncio.timeout(5):
            while self.looks < target:  # noqa: ASYNC110 - the keeper decides when it looks
                await asyncio.sleep(0)


class Keeping:
    """A keeper at work."""

    def __init__(self, fake: FakeStack) -> None:
        self.events: list[tuple[str, str]] = []
        self.keeper = WorkerKeeper(
            cast("Stack", fake),
            lambda stream_id, event: self.events.append((stream_id, event["event"])),
            events_dir=Path("unused"),
            poll_s=0,
        )

    async def __aenter__(self) -> "Keeping":
        self.task = asyncio.create_task(self.keeper.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stack, "_FIRST_PAUSE_S", 0.0)


async def test_every_published_stream_gets_one_worker():
    fake = FakeStack()
    async with Keeping(fake) as keeping:
        fake.published = {"a"}
        await fake.looked_again()
        fake.published = {"a", "b"}
        await fake.looked_again()
        await fake.looked_again()
        assert [worker.stream_id for worker in fake.workers] == ["a", "b"]
        assert keeping.events == [("a", "state"), ("b", "state")]


async def test_a_worker_that_ends_with_its_stream_is_not_replaced_until_it_returns():
    fake = FakeStack()
    async with Keeping(fake):
        fake.published = {"a"}
        await fake.looked_again()
        fake.published = set()
        await fake.looked_again()
        fake.workers[0].end(4)
        await fake.looked_again()
        assert len(fake.workers) == 1
        fake.published = {"a"}
        await fake.looked_again()
        assert len(fake.workers) == 2


async def test_a_stream_that_returns_while_its_worker_drains_gets_the_next_after_it():
    fake = FakeStack()
    async with Keeping(fake):
        fake.published = {"a"}
        await fake.looked_again()
        fake.published = set()
        await fake.looked_again()
        fake.published = {"a"}
        await fake.looked_again()
        assert len(fake.workers) == 1
        fake.workers[0].end(4)
        await fake.looked_again()
        await fake.looked_again()
        assert len(fake.workers) == 2


async def test_a_worker_that_crashes_is_started_again():
    fake = FakeStack()
    async with Keeping(fake) as keeping:
        fake.published = {"a"}
        await fake.looked_again()
        fake.workers[0].end(7)
        await fake.looked_again()
        assert len(fake.workers) == 2
        assert ("a", "worker_ended") in keeping.events


async def test_a_wrong_setting_is_said_once_and_not_tried_again_until_the_publisher_returns():
    fake = FakeStack()
    async with Keeping(fake) as keeping:
        fake.published = {"a"}
        await fake.looked_again()
        fake.workers[0].end(2)
        await fake.looked_again()
        await fake.looked_again()
        assert len(fake.workers) == 1
        assert keeping.events.count(("a", "worker_failed")) == 1
        fake.published = set()
        await fake.looked_again()
        fake.published = {"a"}
        await fake.looked_again()
        assert len(fake.workers) == 2


async def test_a_worker_that_cannot_be_started_is_said():
    fake = FakeStack()
    fake.failing = LivedubError("no python")
    async with Keeping(fake) as keeping:
        fake.published = {"a"}
        await fake.looked_again()
        await fake.looked_again()
        assert keeping.events == [("a", "worker_failed")]
