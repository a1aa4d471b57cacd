"""A stage around an engine that does what it is told: batching, gathering, refusing, isolating, cancelling."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from gpu_handler.job import Job
from gpu_handler.stage_errors import StageError
from gpu_handler.stages import Approach, Stage
from livedub.sts.contract import ErrorCode
from livedub.sts.contract import Stage as StageName
from tests.unit.gpu_handler.requests import eventually, request

BOUND_S = 10.0


class Engine:
    """Answers `item.upper()`; waits at its gate, and raises what it is told to."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.fail: Callable[[Sequence[str]], None] = lambda _: None

    def __call__(self, items: Sequence[str]) -> list[str]:
        self.calls.append(list(items))
        self.entered.set()
        assert self.gate.wait(BOUND_S)
        self.fail(items)
        return [item.upper() for item in items]


@pytest.fixture
def engine() -> Engine:
    return Engine()


@asynccontextmanager
async def stage(engine: Engine, **options: object) -> AsyncIterator[Stage[str, str]]:
    made: Stage[str, str] = Stage(StageName.TTS, engine, timing="tts_ms", **options)  # pyright: ignore[reportArgumentType]
    try:
        yield made
    finally:
        engine.gate.set()
        await asyncio.to_thread(made.close)


def job(number: int = 1, *, stream: str = "stream", deadline_ms: int = 60_000) -> Job:
    return Job(request(number, stream=stream, deadline_ms=deadline_ms), time.monotonic())


async def hold(engine: Engine, working: Stage[str, str]) -> asyncio.Task[str]:
    """Occupy the engine until its gate opens."""
    engine.gate.clear()
    held = asyncio.create_task(working.run(job(0, stream="holder"), "held"))
    assert await asyncio.to_thread(engine.entered.wait, BOUND_S)
    return held


async def test_what_waits_goes_in_one_call_and_everybody_gets_their_own_answer(engine: Engine):
    async with stage(engine, max_batch=4) as working:
        held = await hold(engine, working)
        items = [f"item {number}" for number in range(9)]
        tasks = [
            asyncio.create_task(working.run(job(number, stream=f"s{number}"), item))
            for number, item in enumerate(items)
        ]
        await eventually(lambda: working.counts.waiting == 9)
        engine.gate.set()
        assert await asyncio.gather(*tasks) == [item.upper() for item in items]
        assert await held == "HELD"
        assert [len(call) for call in engine.calls] == [1, 4, 4, 1]
        counts = working.counts
        assert (counts.calls, counts.items, counts.answered, counts.largest_batch) == (4, 10, 10, 4)
        assert (counts.waiting, counts.running) == (0, 0)


async def test_a_stream_keeps_its_order_and_the_most_urgent_stream_goes_first(engine: Engine):
    async with stage(engine) as working:
        held = await hold(engine, working)
        tasks = [
            asyncio.create_task(working.run(job(number, stream=stream, deadline_ms=deadline_ms), name))
            for stream, number, deadline_ms, name in (
                ("calm", 2, 50_000, "calm 2"),
                ("calm", 1, 55_000, "calm 1"),
                ("urgent", 7, 20_000, "urgent 7"),
                ("urgent", 8, 30_000, "urgent 8"),
            )
        ]
        await eventually(lambda: working.counts.waiting == 4)
        engine.gate.set()
        await asyncio.gather(held, *tasks)
        assert [call[0] for call in engine.calls[1:]] == ["urgent 7", "urgent 8", "calm 1", "calm 2"]


async def test_a_free_engine_waits_for_what_is_about_to_come(engine: Engine):
    async with stage(engine, max_batch=4, gather_ms=30) as working:
        coming = Approach(working)
        coming.near(2)
        first = asyncio.create_task(working.run(job(1, stream="a"), "a", approach=coming))
        second = asyncio.create_task(working.run(job(1, stream="b"), "b", approach=coming))
        assert await asyncio.gather(first, second) == ["A", "B"]
        assert engine.calls == [["a", "b"]]


async def test_it_does_not_wait_for_what_will_not_come(engine: Engine):
    async with stage(engine, max_batch=4, gather_ms=30) as working:
        coming = Approach(working)
        coming.near()
        first = asyncio.create_task(working.run(job(1), "a"))
        await eventually(lambda: working.counts.waiting == 1 or bool(engine.calls))
        coming.over()
        coming.over()
        assert await first == "A"
        assert await working.run(job(2), "b") == "B"


async def test_it_does_not_wait_for_ever(engine: Engine):
    async with stage(engine, max_batch=4, gather_ms=5) as working:
        Approach(working).near()
        assert await asyncio.wait_for(working.run(job(), "a"), BOUND_S) == "A"
        assert working.counts.idle_ns >= 5_000_000


async def test_nobody_waits_where_nobody_is_known_to_come(engine: Engine):
    async with stage(engine, max_batch=4, gather_ms=30) as working:
        task = asyncio.create_task(working.run(job(), "a"))
        await asyncio.sleep(0)
        assert working.counts.running == 1
        assert await task == "A"


async def test_a_full_batch_waits_for_nobody(engine: Engine):
    async with stage(engine, max_batch=2, gather_ms=30) as working:
        coming = Approach(working)
        coming.near(5)
        tasks = [asyncio.create_task(working.run(job(n), str(n), approach=coming)) for n in range(2)]
        await asyncio.sleep(0)
        assert working.counts.running == 1
        await asyncio.gather(*tasks)


async def test_an_engine_waits_for_the_one_before_it_that_is_about_to_end(engine: Engine):
    upstream_engine = Engine()
    async with (
        stage(upstream_engine) as upstream,
        stage(engine, max_batch=4, gather_ms=30, upstream=upstream) as working,
    ):
        await upstream.run(job(), "so fast")
        assert not upstream.ends_within(10**9), "it does nothing"
        held = await hold(upstream_engine, upstream)
        assert not upstream.ends_within(0)
        assert await asyncio.wait_for(working.run(job(), "a"), BOUND_S) == "A"
        upstream_engine.gate.set()
        await held


async def test_what_cannot_make_its_deadline_is_refused_at_once_and_not_computed(engine: Engine):
    async with stage(engine) as working:
        engine.fail = lambda _: time.sleep(0.05)  # what a call costs
        await working.run(job(), "learns the cost")
        assert working.least_ns() >= 50_000_000
        for late in (job(2, deadline_ms=30), job(2, deadline_ms=1)):
            with pytest.raises(StageError) as caught:
                await working.run(late, "late")
            assert (caught.value.error.code, caught.value.error.stage) == (ErrorCode.TIMEOUT, StageName.TTS)
        with pytest.raises(StageError, match="what follows"):
            await working.run(job(3, deadline_ms=5_000), "late later", rest_ns=4_980_000_000)
        assert engine.calls == [["learns the cost"]]
        assert working.counts.refused == 3


async def test_what_becomes_hopeless_while_it_waits_is_refused_when_the_engine_is_free(engine: Engine):
    async with stage(engine) as working:
        held = await hold(engine, working)
        waits = asyncio.create_task(working.run(job(2, deadline_ms=80), "waits"))
        await asyncio.wait({waits}, timeout=0.15)
        engine.gate.set()
        with pytest.raises(StageError) as caught:
            await waits
        assert caught.value.error.code is ErrorCode.TIMEOUT
        await held
        assert engine.calls == [["held"]]


async def test_an_item_that_breaks_its_batch_breaks_alone(engine: Engine):
    def fail(items: Sequence[str]) -> None:
        if "poison" in items:
            raise ValueError("bad item")

    engine.fail = fail
    async with stage(engine, max_batch=8) as working:
        held = await hold(engine, working)
        names = ["a", "poison", "b", "c"]
        tasks = [asyncio.create_task(working.run(job(n, stream=name), name)) for n, name in enumerate(names)]
        await eventually(lambda: working.counts.waiting == 4)
        engine.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [results[0], *results[2:]] == ["A", "B", "C"]
        assert isinstance(results[1], StageError)
        assert results[1].error.code is ErrorCode.MODEL_ERROR
        assert await held == "HELD"
        assert working.counts.calls == len(engine.calls) == 6


async def test_memory_that_runs_out_halves_this_batch_and_the_next(engine: Engine):
    def fail(items: Sequence[str]) -> None:
        if len(items) > 2:
            raise RuntimeError("CUDA failed with error out of memory")

    engine.fail = fail
    async with stage(engine, max_batch=8) as working:
        for _ in range(2):
            held = await hold(engine, working)
            tasks = [asyncio.create_task(working.run(job(n, stream=str(n)), str(n))) for n in range(8)]
            await eventually(lambda: working.counts.waiting == 8)
            engine.gate.set()
            assert await asyncio.gather(*tasks) == [str(n) for n in range(8)]
            await held
            engine.entered.clear()
        assert working.counts.out_of_memory == 3, "eight, then twice four"
        assert [len(call) for call in engine.calls] == [1, 8, 4, 2, 2, 4, 2, 2, 1, 2, 2, 2, 2]


async def test_memory_that_one_item_exhausts_has_its_own_code(engine: Engine):
    def fail(_: Sequence[str]) -> None:
        raise MemoryError

    engine.fail = fail
    async with stage(engine) as working:
        with pytest.raises(StageError) as caught:
            await working.run(job(), "a")
        assert caught.value.error.code is ErrorCode.GPU_OOM


async def test_cancelling_frees_the_place_in_the_queue(engine: Engine):
    async with stage(engine, max_batch=4) as working:
        held = await hold(engine, working)
        gone = asyncio.create_task(working.run(job(1), "gone"))
        stays = asyncio.create_task(working.run(job(2), "stays"))
        await eventually(lambda: working.counts.waiting == 2)
        gone.cancel()
        await eventually(lambda: working.counts.waiting == 1)
        held.cancel()
        engine.gate.set()
        assert await stays == "STAYS"
        assert engine.calls == [["held"], ["stays"]]
        assert working.counts.cancelled == 2
        assert working.counts.answered == 1, "an answer that nobody wants is dropped"


async def test_a_cancelled_item_is_not_tried_again(engine: Engine):
    failed = threading.Event()

    def fail(items: Sequence[str]) -> None:
        if len(items) > 1:
            failed.set()
            raise ValueError("not together")

    engine.fail = fail
    async with stage(engine, max_batch=4) as working:
        held = await hold(engine, working)
        tasks = {name: asyncio.create_task(working.run(job(n), name)) for n, name in enumerate("abc")}
        await eventually(lambda: working.counts.waiting == 3)
        engine.gate.set()
        await held
        # from here on the batch is under way; who leaves now is skipped when its turn comes singly
        tasks["c"].cancel()
        assert await tasks["a"] == "A"
        assert await tasks["b"] == "B"
        assert failed.is_set()
        assert engine.calls.count(["c"]) <= 1


async def test_the_engine_s_time_is_booked_once_per_fragment(engine: Engine):
    engine.fail = lambda _: time.sleep(0.04)
    async with stage(engine, max_batch=4, gather_ms=30) as working:
        coming, one = Approach(working), job()
        coming.near(4)
        started_s = time.monotonic()
        await asyncio.gather(*(working.run(one, str(n), approach=coming) for n in range(4)))
        took_ms = (time.monotonic() - started_s) * 1_000
        assert [len(call) for call in engine.calls] == [4]
        assert 40 <= one.timings.tts_ms <= took_ms


async def test_lanes_work_side_by_side(engine: Engine):
    both = threading.Barrier(2)

    def fail(_: Sequence[str]) -> None:
        both.wait(BOUND_S)

    engine.fail = fail
    async with stage(engine, lanes=2) as working:
        assert await asyncio.gather(working.run(job(1), "a"), working.run(job(2), "b")) == ["A", "B"]


async def test_closing_answers_those_who_wait(engine: Engine):
    async with stage(engine) as working:
        held = await hold(engine, working)
        waits = asyncio.create_task(working.run(job(2), "waits"))
        await eventually(lambda: working.counts.waiting == 1)
        closing = asyncio.create_task(asyncio.to_thread(working.close))
        with pytest.raises(StageError, match="shutting down"):
            await waits
        engine.gate.set()
        await closing
        assert await held == "HELD"
        with pytest.raises(StageError, match="shutting down"):
            await working.run(job(3), "too late")


def test_a_stage_outlives_an_event_loop_that_left_work_behind(engine: Engine):
    working: Stage[str, str] = Stage(StageName.TTS, engine)

    async def leave() -> None:
        await hold(engine, working)

    async def come_back() -> str:
        return await working.run(job(), "a")

    try:
        asyncio.run(leave())
        engine.gate.set()
        assert asyncio.run(come_back()) == "A"
    finally:
        engine.gate.set()
        working.close()


async def test_how_long_a_call_has_been_running_is_known(engine: Engine):
    async with stage(engine) as working:
        assert working.busy_s == 0
        held = await hold(engine, working)
        await eventually(lambda: working.busy_s > 0.01)
        engine.gate.set()
        await held
        await eventually(lambda: working.busy_s == 0)
