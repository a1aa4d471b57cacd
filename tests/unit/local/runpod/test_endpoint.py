"""Waiting on the queue: who is woken by what, and that nobody waits for the clock."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from local.runpod.endpoint import Endpoint
from local.runpod.jobs import Job, JobStatus, Policy
from local.runpod.limits import Limits

BOUND_S = 10.0
LONG_S = 1_000.0
"""Far over the test's own time limit: only an event ends such a wait."""
POLICY = Policy(execution_timeout_s=600, ttl_s=3_600)


@pytest.fixture
async def endpoint():
    made = Endpoint(Limits())
    yield made
    made.close()


def submit(endpoint: Endpoint, work: Any = 1, policy: Policy = POLICY) -> Job:
    return endpoint.submit(work, size_bytes=1, policy=policy, synchronous=False)


async def asking(endpoint: Endpoint, worker_id: str, most: int = 1) -> asyncio.Task[list[Job]]:
    """A worker's request that waits by now."""
    task = asyncio.create_task(endpoint.take(worker_id, most, wait_s=LONG_S))
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def soon(task: "asyncio.Future[Any]") -> Any:
    return await asyncio.wait_for(task, BOUND_S)


async def test_a_job_goes_to_whoever_waits_for_one(endpoint: Endpoint):
    worker = await asking(endpoint, "w1")
    job = submit(endpoint)
    assert job.status is JobStatus.IN_PROGRESS  # already: nothing looks for it later
    assert await soon(worker) == [job]


async def test_who_asked_first_is_served_first(endpoint: Endpoint):
    workers = [await asking(endpoint, f"w{n}", most=4) for n in range(3)]
    jobs = [submit(endpoint) for _ in range(3)]
    assert [await soon(worker) for worker in workers] == [[job] for job in jobs]


async def test_what_waits_is_given_at_once_and_together(endpoint: Endpoint):
    jobs = [submit(endpoint) for _ in range(5)]
    assert await endpoint.take("w1", 3, wait_s=LONG_S) == jobs[:3]
    assert await endpoint.take("w1", 3, wait_s=LONG_S) == jobs[3:]


async def test_a_request_without_a_job_ends_empty_after_its_time(endpoint: Endpoint):
    assert await endpoint.take("w1", 1, wait_s=0.01) == []
    job = submit(endpoint)
    assert job.status is JobStatus.IN_QUEUE


async def test_a_request_that_is_cancelled_loses_no_job(endpoint: Endpoint):
    worker = await asking(endpoint, "w1")
    job = submit(endpoint)  # dealt, and not delivered yet
    worker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await worker
    assert job.status is JobStatus.IN_QUEUE
    assert await endpoint.take("w2", 1, wait_s=LONG_S) == [job]


async def test_the_end_of_a_job_wakes_who_waits_for_it(endpoint: Endpoint):
    job = submit(endpoint)
    waiting = asyncio.create_task(endpoint.ended(job, wait_s=LONG_S))
    await endpoint.take("w1", 1, wait_s=LONG_S)
    endpoint.push("w1", job.job_id, {"output": 1}, size_bytes=1)
    await asyncio.sleep(0)
    assert not waiting.done()
    endpoint.finish("w1", job.job_id, {"output": 2}, size_bytes=1)
    await soon(waiting)
    assert job.output == 2


async def test_who_waits_for_a_job_gives_up_after_its_time(endpoint: Endpoint):
    job = submit(endpoint)
    await asyncio.wait_for(endpoint.ended(job, wait_s=0.01), BOUND_S)
    assert job.status is JobStatus.IN_QUEUE


async def test_a_cancelled_job_wakes_its_worker(endpoint: Endpoint):
    job = submit(endpoint)
    await endpoint.take("w1", 1, wait_s=LONG_S)
    told = asyncio.create_task(endpoint.stops("w1", wait_s=LONG_S))
    await asyncio.sleep(0)
    endpoint.cancel(job.job_id)
    assert await soon(told) == [job.job_id]
    assert await endpoint.stops("w1", wait_s=0.01) == []


async def test_a_job_that_runs_too_long_ends_by_itself(endpoint: Endpoint):
    job = submit(endpoint, policy=Policy(execution_timeout_s=0.02, ttl_s=100))
    await endpoint.take("w1", 1, wait_s=LONG_S)
    await asyncio.wait_for(endpoint.ended(job, wait_s=LONG_S), BOUND_S)
    assert job.status is JobStatus.TIMED_OUT


async def test_a_job_nobody_takes_ends_by_itself(endpoint: Endpoint):
    job = submit(endpoint, policy=Policy(execution_timeout_s=100, ttl_s=0.02))
    await asyncio.wait_for(endpoint.ended(job, wait_s=LONG_S), BOUND_S)
    assert job.status is JobStatus.TIMED_OUT


async def test_an_earlier_limit_of_a_later_job_is_kept(endpoint: Endpoint):
    submit(endpoint, policy=Policy(execution_timeout_s=100, ttl_s=100))
    job = submit(endpoint, policy=Policy(execution_timeout_s=100, ttl_s=0.02))
    await asyncio.wait_for(endpoint.ended(job, wait_s=LONG_S), BOUND_S)
    assert job.status is JobStatus.TIMED_OUT


async def test_a_job_of_a_silent_worker_goes_to_one_that_waits():
    endpoint = Endpoint(replace(Limits(), worker_silence_s=0.05))
    job = submit(endpoint)
    assert await endpoint.take("w1", 1, wait_s=LONG_S) == [job]
    assert await asyncio.wait_for(endpoint.take("w2", 1, wait_s=LONG_S), BOUND_S) == [job]
    assert job.retries == 1
    endpoint.close()


async def test_a_retried_job_goes_to_one_that_waits(endpoint: Endpoint):
    job = submit(endpoint)
    await endpoint.take("w1", 1, wait_s=LONG_S)
    endpoint.finish("w1", job.job_id, {"error": "boom"}, size_bytes=1)
    worker = await asking(endpoint, "w1")
    endpoint.retry(job.job_id)
    assert await soon(worker) == [job]


async def test_the_end_of_the_emulator_ends_every_wait(endpoint: Endpoint):
    job = submit(endpoint)
    await endpoint.take("w0", 1, wait_s=LONG_S)
    waits = [
        await asking(endpoint, "w1"),
        asyncio.create_task(endpoint.stops("w1", wait_s=LONG_S)),
        asyncio.create_task(endpoint.ended(job, wait_s=LONG_S)),
    ]
    await asyncio.sleep(0)
    endpoint.close()
    endpoint.close()
    assert await soon(asyncio.gather(*waits)) == [[], [], None]
    assert endpoint._alarm is None
