"""What breaks supervision, many times at random instants under a live stream: never two publishers, never none for long.

`LIVEDUB_FAULT_ROUNDS` says how often each fault is made (20 in a proof that is kept).
"""

import asyncio
import os
import random
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from local.aws import deployment
from local.sync_clip import sync_clip
from tests.e2e.rig import clip_cache
from tests.e2e.supervised_rig import SupervisedRig, kill

pytestmark = [
    pytest.mark.prove,
    pytest.mark.realtime,
    pytest.mark.timeout(3_000),
    pytest.mark.asyncio(loop_scope="module"),
]

Keep = Callable[[str, dict[str, Any]], None]

WELL_AGAIN_S = 15.0
CUT_S = 10.0
POLL_S = 0.1


@pytest.fixture(scope="module")
def rounds() -> int:
    return int(os.environ.get("LIVEDUB_FAULT_ROUNDS", "20"))


@pytest.fixture(scope="module")
def clip() -> Path:
    return sync_clip("standard", 60, clip_cache())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SupervisedRig]:
    async with SupervisedRig(tmp_path_factory.mktemp("faults"), agents=2, restart_budget=False) as running:
        yield running


@dataclass
class Watch:
    """Follows who publishes `out`, connection by connection: one that was replaced must never be seen again."""

    rig: SupervisedRig
    stream_id: str
    seen: list[str] = field(default_factory=list)
    doubles: int = 0
    last_on_s: float = 0.0

    async def run(self) -> None:
        while True:
            for connection in await self.rig.publishers(self.stream_id, "out"):
                self.last_on_s = time.monotonic()
                if connection not in self.seen:
                    self.seen.append(connection)
                elif connection != self.seen[-1]:
                    self.doubles += 1
            await asyncio.sleep(POLL_S)


@asynccontextmanager
async def live(rig: SupervisedRig, stream_id: str, clip: Path) -> AsyncIterator[Watch]:
    """A stream on air, watched."""
    publisher = await rig.publish(stream_id, clip, seconds=3_000)
    watch = Watch(rig, stream_id)
    task = asyncio.create_task(watch.run())
    try:
        await rig.until_fragment(stream_id)
        yield watch
    finally:
        task.cancel()
        await asyncio.wait({task})
        await rig.stack.supervisor.stop(publisher)
    if not task.cancelled():
        task.result()


async def on_air_again(rig: SupervisedRig, stream_id: str, since: int) -> float:
    """Seconds until the holder of the lease is published and sends; bounded by what is promised."""
    began = time.monotonic()
    bound_s = WELL_AGAIN_S + rig.delay_ms / 1_000
    detail = await rig.detail(stream_id)
    while time.monotonic() - began < bound_s:
        sending = {
            event["generation"]
            for event in rig.events[since:]
            if event.get("stream_id") == stream_id
            and event["event"] == "progress"
            and event.get("output_media_ms") is not None
        }
        detail = await rig.detail(stream_id)
        if (
            detail.stream.state == "running"
            and detail.stream.generation in sending
            and await rig.publishers(stream_id, "out")
        ):
            return time.monotonic() - began
        await asyncio.sleep(POLL_S)
    raise TimeoutError(f"{stream_id} is not on air again after {bound_s:.0f} s: {detail}")


async def repeat(
    rig: SupervisedRig, stream_id: str, clip: Path, rounds: int, fault: Callable[[], Awaitable[None]]
) -> dict[str, Any]:
    """Make a fault at random instants of a live stream; what it did each time."""
    source = random.Random(stream_id)
    took_s: list[float] = []
    async with live(rig, stream_id, clip) as watch:
        for _ in range(rounds):
            await asyncio.sleep(source.uniform(0.5, 5.0))  # the random instant
            await fault()
            since = len(rig.events)
            took_s.append(await on_air_again(rig, stream_id, since))
    idle = await rig.until_state(stream_id, "idle", timeout_s=WELL_AGAIN_S + rig.delay_ms / 1_000)
    return {
        "rounds": rounds,
        "double_publish": watch.doubles,
        "on_air_again_s": {
            "median": round(statistics.median(took_s), 2),
            "max": round(max(took_s), 2),
            "bar": WELL_AGAIN_S + rig.delay_ms / 1_000,
        },
        "generations": idle.stream.generation,
        "outcome": idle.stream.last_outcome,
    }


def assert_held(figures: dict[str, Any]) -> None:
    assert figures["double_publish"] == 0
    assert figures["outcome"] == "source_lost"


async def test_agent_killed(rig: SupervisedRig, clip: Path, rounds: int, keep: Keep):
    async def fault() -> None:
        kill(rig.agent_of("agent-killed"))
        await rig.agents_running(2)

    figures = await repeat(rig, "agent-killed", clip, rounds, fault)
    keep("fault_agent_killed", figures)
    assert_held(figures)


async def test_function_killed_in_the_middle_of_a_call(
    rig: SupervisedRig, clip: Path, rounds: int, keep: Keep
):
    source = random.Random(1)

    async def fault() -> None:
        # Worker and function at once: the restart needs the functions that die under it.
        kill(rig.worker_pid("function-killed"))
        for _ in range(4):
            await asyncio.sleep(source.uniform(0.0, 0.3))
            for pid in rig.function_pids():
                kill(pid)

    figures = await repeat(rig, "function-killed", clip, rounds, fault)
    keep("fault_function_killed", figures)
    assert_held(figures)


async def test_aws_out_of_reach_for_ten_seconds(rig: SupervisedRig, clip: Path, rounds: int, keep: Keep):
    async def fault() -> None:
        await rig.stack.wire.cut()
        await asyncio.sleep(CUT_S)  # the fault itself
        await rig.stack.wire.restore()

    figures = await repeat(rig, "aws-cut", clip, rounds, fault)
    keep("fault_aws_cut", figures)
    assert_held(figures)


async def test_a_queue_message_that_comes_twice(rig: SupervisedRig, clip: Path, rounds: int, keep: Keep):
    source = random.Random(2)
    sqs = deployment.client(rig.stack.control.endpoint, "sqs")
    doubled = workers = 0
    for number in range(rounds):
        stream_id = f"doubled-{number}"
        async with live(rig, stream_id, clip) as watch:
            message = next(body for body in rig.queue_messages if stream_id in body)
            await asyncio.sleep(source.uniform(0.0, 2.0))  # the random instant
            await asyncio.to_thread(
                sqs.send_message, QueueUrl=rig.stack.control.deployed.work_queue_url, MessageBody=message
            )
            doubled += 1
            await rig.until_queue_is_empty(sqs)
            assert watch.doubles == 0
        idle = await rig.until_state(stream_id, "idle")
        assert (idle.stream.generation, idle.stream.last_outcome) == (1, "source_lost")
        workers += sum(
            e["event"] == "worker_started" and e["stream_id"] == stream_id
            for e in rig.events
            if "stream_id" in e
        )
    keep("fault_message_doubled", {"rounds": doubled, "workers": workers})
    assert workers == doubled == rounds
