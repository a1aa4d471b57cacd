import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livedub.media_cache.singleflight import SingleFlight


class Work:
    """Counts its runs and ends when it is told to."""

    def __init__(self) -> None:
        self.runs = 0
        self.cancelled = 0
        self.release = asyncio.Event()

    async def __call__(self) -> int:
        self.runs += 1
        number = self.runs
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return number


async def test_all_who_ask_meanwhile_get_one_answer_and_later_ones_a_new_one():
    work, flights = Work(), SingleFlight[str, int]()
    asking = [asyncio.create_task(flights.run("a", work)) for _ in range(5)]
    await asyncio.sleep(0)
    work.release.set()
    assert await asyncio.gather(*asking) == [1] * 5
    assert await flights.run("a", work) == 2
    assert len(flights) == 0


async def test_other_keys_have_work_of_their_own():
    work, flights = Work(), SingleFlight[str, int]()
    work.release.set()
    assert sorted(await asyncio.gather(flights.run("a", work), flights.run("b", work))) == [1, 2]


async def test_a_failure_is_everybodys_and_then_forgotten():
    flights = SingleFlight[str, int]()

    async def fail() -> int:
        await asyncio.sleep(0)
        raise ValueError("no")

    async def succeed() -> int:
        return 7

    outcomes = await asyncio.gather(*(flights.run("a", fail) for _ in range(3)), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["no"] * 3
    assert await flights.run("a", succeed) == 7


async def test_work_that_nobody_waits_for_any_more_is_cancelled():
    work, flights = Work(), SingleFlight[str, int]()
    asking = [asyncio.create_task(flights.run("a", work)) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    work.release.set()
    assert await flights.run("a", work) == 2
    assert work.cancelled == 1


@given(st.lists(st.booleans(), min_size=1, max_size=8))
@settings(max_examples=40)
def test_whoever_stays_gets_the_answer(leaves: list[bool]):
    async def scene() -> None:
        work, flights = Work(), SingleFlight[str, int]()
        asking = [asyncio.create_task(flights.run("a", work)) for _ in leaves]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for task, leave in zip(asking, leaves, strict=True):
            if leave:
                task.cancel()
        await asyncio.sleep(0)
        work.release.set()
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
        for outcome, leave in zip(outcomes, leaves, strict=True):
            assert isinstance(outcome, asyncio.CancelledError) if leave else outcome == 1
        assert work.cancelled == int(all(leaves))

    asyncio.run(scene())


async def test_cancelling_reaches_only_the_one_who_asked():
    work, flights = Work(), SingleFlight[str, int]()
    leaving, staying = (asyncio.create_task(flights.run("a", work)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    work.release.set()
    assert await staying == 1
