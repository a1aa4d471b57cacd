import asyncio
import threading

import pytest

from media_edge.cache.io_threads import IoThreads


@pytest.fixture
def threads():
    made = IoThreads(2, "io")
    yield made
    made.close()


async def test_results_and_errors_reach_who_asked(threads: IoThreads):
    def fail() -> None:
        raise ValueError("no")

    outcomes = await asyncio.gather(
        *(threads.call(pow, number, 2) for number in range(500)), threads.call(fail), return_exceptions=True
    )
    assert outcomes[:-1] == [number**2 for number in range(500)]
    assert isinstance(outcomes[-1], ValueError)


async def test_calls_run_beside_each_other_and_beside_the_loop(threads: IoThreads):
    both = threading.Barrier(2)
    await asyncio.wait_for(asyncio.gather(*(threads.call(both.wait, 30) for _ in range(2))), 60)


async def test_whoever_gave_up_is_not_told(threads: IoThreads):
    release, made = threading.Event(), threading.Event()

    def call() -> None:
        release.wait(30)
        made.set()

    waiting = threads.call(call)
    waiting.cancel()
    given_up = threads.call(call)
    given_up.set_exception(TimeoutError())
    with pytest.raises(TimeoutError):
        await given_up
    release.set()
    assert await threads.call(made.wait, 30)


async def test_closing_waits_for_what_was_asked():
    threads, release, made = IoThreads(1, "io"), threading.Event(), []

    def call() -> None:
        release.wait(30)
        made.append(threading.current_thread().name)

    threads.call(call)
    threads.call(call)
    closing = asyncio.get_running_loop().run_in_executor(None, threads.close)
    release.set()
    await closing
    assert made == ["io_0", "io_0"]


def test_threads_outlive_the_loop_until_they_are_closed():
    threads, release = IoThreads(1, "io"), threading.Event()

    async def ask() -> None:
        threads.call(release.wait, 30)

    asyncio.run(ask())
    release.set()
    threads.close()


def test_closing_what_was_never_used_is_fine():
    IoThreads(4, "io").close()
