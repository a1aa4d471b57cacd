"""The rules of the queue, on a clock that the test turns."""

import itertools
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from local.runpod.board import Board
from local.runpod.jobs import Job, JobStatus, NotRetryableError, Policy, QueueFullError, UnknownJobError
from local.runpod.limits import Limits

POLICY = Policy(execution_timeout_s=600, ttl_s=3_600)


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class World:
    """A board, its clock and short ways to use it."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.clock = Clock()
        numbers = itertools.count(1)
        self.board = Board(limits or Limits(), clock=self.clock, new_id=lambda: f"job-{next(numbers)}")

    def submit(self, size_bytes: int = 10, policy: Policy = POLICY, *, synchronous: bool = False) -> Job:
        return self.board.submit({"n": 1}, size_bytes=size_bytes, policy=policy, synchronous=synchronous)

    def wait(self, seconds: float) -> None:
        self.clock.now_s += seconds
        self.board.expire()

    @property
    def jobs(self) -> dict[str, int]:
        return self.board.health()["jobs"]

    @property
    def workers(self) -> dict[str, int]:
        return self.board.health()["workers"]


@pytest.fixture
def world() -> World:
    return World()


def test_jobs_are_given_in_the_order_they_came(world: World):
    jobs = [world.submit() for _ in range(5)]
    assert world.board.take("w1", 2) == jobs[:2]
    assert world.board.take("w2", 10) == jobs[2:]
    assert world.jobs["inProgress"] == 5
    assert world.workers["running"] == 2


def test_a_result_is_kept_with_its_times(world: World):
    job = world.submit()
    world.wait(0.25)
    world.board.take("w1", 1)
    world.wait(1.5)
    world.board.finish("w1", job.job_id, {"output": [1]}, size_bytes=3)
    assert job.view() == {
        "id": "job-1",
        "status": "COMPLETED",
        "delayTime": 250,
        "executionTime": 1500,
        "workerId": "w1",
        "output": [1],
    }
    assert world.jobs["completed"] == 1
    assert world.workers == {
        "idle": 1,
        "initializing": 0,
        "ready": 1,
        "running": 0,
        "throttled": 0,
        "unhealthy": 0,
    }


def test_ids_tell_synchronous_jobs_apart(world: World):
    assert world.submit(synchronous=True).job_id == "sync-job-1"
    assert world.submit().job_id == "job-2"


def test_a_failed_job_says_why_and_can_be_retried_under_its_id(world: World):
    job = world.submit()
    world.board.take("w1", 1)
    world.board.finish("w1", job.job_id, {"error": "boom"}, size_bytes=3)
    assert (job.status, job.view()["error"]) == (JobStatus.FAILED, "boom")
    assert world.board.retry(job.job_id) is job
    assert "error" not in job.view()
    assert world.board.take("w2", 1) == [job]
    world.board.finish("w2", job.job_id, {"output": 1}, size_bytes=1)
    assert world.jobs == {"completed": 1, "failed": 1, "inProgress": 0, "inQueue": 0, "retried": 1}


@pytest.mark.parametrize("state", ["queued", "running", "completed", "cancelled"])
def test_nothing_else_can_be_retried(world: World, state: str):
    job = world.submit()
    if state == "cancelled":
        world.board.cancel(job.job_id)
    elif state != "queued":
        world.board.take("w1", 1)
        if state == "completed":
            world.board.finish("w1", job.job_id, {"output": 1}, size_bytes=1)
    with pytest.raises(NotRetryableError):
        world.board.retry(job.job_id)


def test_a_cancelled_job_leaves_the_queue_and_is_never_given(world: World):
    job = world.submit()
    assert world.board.cancel(job.job_id).status is JobStatus.CANCELLED
    assert world.board.take("w1", 5) == []
    assert world.board.stops("w1") == []


def test_the_worker_of_a_cancelled_job_is_told_once_and_its_result_ignored(world: World):
    job = world.submit()
    world.board.take("w1", 1)
    world.board.cancel(job.job_id)
    assert world.board.stops("w2") == []
    assert world.board.stops("w1") == [job.job_id]
    assert world.board.stops("w1") == []
    world.board.finish("w1", job.job_id, {"output": "late"}, size_bytes=4)
    assert job.status is JobStatus.CANCELLED
    assert "output" not in job.view()
    assert world.board.cancel(job.job_id).status is JobStatus.CANCELLED


def test_purge_cancels_what_waits_and_nothing_that_runs(world: World):
    running, *waiting = [world.submit() for _ in range(3)]
    world.board.take("w1", 1)
    assert world.board.purge() == 2
    assert running.status is JobStatus.IN_PROGRESS
    assert {job.status for job in waiting} == {JobStatus.CANCELLED}
    assert world.board.purge() == 0


def test_a_job_that_runs_too_long_times_out_and_its_worker_is_told(world: World):
    job = world.submit(policy=Policy(execution_timeout_s=6, ttl_s=100))
    world.wait(50)
    world.board.take("w1", 1)
    assert world.board.next_due_s() == world.clock.now_s + 6
    world.wait(5.9)
    assert job.status is JobStatus.IN_PROGRESS
    world.wait(0.1)
    assert job.status is JobStatus.TIMED_OUT
    assert world.board.stops("w1") == [job.job_id]
    assert world.jobs["failed"] == 1


@pytest.mark.parametrize("taken", [False, True])
def test_a_job_that_is_too_old_times_out_wherever_it_is(world: World, taken: bool):
    job = world.submit(policy=Policy(execution_timeout_s=600, ttl_s=10))
    if taken:
        world.board.take("w1", 1)
    world.wait(10)
    assert (job.status, job.error) == (JobStatus.TIMED_OUT, "job ttl passed")
    assert world.board.take("w2", 1) == []


@pytest.mark.parametrize(("synchronous", "kept_s"), [(True, 60), (False, 1_800)])
def test_results_are_forgotten_after_a_while(world: World, synchronous: bool, kept_s: float):
    job = world.submit(synchronous=synchronous)
    world.board.take("w1", 1)
    world.board.finish("w1", job.job_id, {"output": 1}, size_bytes=1)
    world.wait(kept_s - 1)
    assert world.board.job(job.job_id) is job
    world.wait(1)
    with pytest.raises(UnknownJobError):
        world.board.job(job.job_id)
    assert world.board.held_bytes == 0


def test_jobs_of_a_worker_that_fell_silent_go_to_another_in_their_order(world: World):
    first, second, third = [world.submit() for _ in range(3)]
    world.board.take("w1", 2)
    world.wait(29)
    world.board.seen("w2")
    world.wait(1)
    assert world.workers["ready"] == 1
    assert world.board.take("w2", 5) == [first, second, third]
    assert (first.retries, third.retries) == (1, 0)
    world.board.finish("w1", first.job_id, {"output": "of the dead"}, size_bytes=1)
    assert first.status is JobStatus.IN_PROGRESS
    assert world.jobs["retried"] == 2


def test_a_worker_that_waits_for_work_is_not_silent(world: World):
    world.board.seen("w1").asking += 1
    assert world.board.next_due_s() is None
    world.wait(1_000)
    assert world.workers["ready"] == 1


def test_a_job_that_kills_its_workers_fails(world: World):
    job = world.submit()
    for n in range(3):
        assert world.board.take(f"w{n}", 1) == [job]
        world.wait(30)
    assert job.status is JobStatus.FAILED
    assert "vanished" in job.view()["error"]
    assert world.board.take("w9", 1) == []


def test_what_did_not_reach_its_worker_is_queued_in_front_and_counts_as_no_retry(world: World):
    first, second, third = [world.submit() for _ in range(3)]
    world.board.give_back("w1", world.board.take("w1", 2))
    assert world.board.take("w2", 3) == [first, second, third]
    assert world.jobs["retried"] == 0
    world.board.give_back("w1", [first])  # not its own any more
    assert first.worker_id == "w2"


def test_a_worker_that_asks_to_be_replaced_gets_nothing_more(world: World):
    job = world.submit()
    world.board.take("w1", 1)
    world.board.finish("w1", job.job_id, {"output": 1, "stopPod": True}, size_bytes=1)
    waiting = world.submit()
    assert world.board.take("w1", 1) == []
    assert world.workers["ready"] == 0
    assert world.board.take("w2", 1) == [waiting]


def test_an_unhealthy_worker_is_counted_as_such(world: World):
    world.board.report_unhealthy("w1", "gpu: none")
    assert world.workers["unhealthy"] == 1
    assert world.workers["ready"] == 0


def test_streamed_elements_are_read_once_and_in_order(world: World):
    job = world.submit()
    world.board.take("w1", 1)
    for n in range(3):
        world.board.push("w1", job.job_id, {"output": n}, size_bytes=5)
    world.board.push("w2", job.job_id, {"output": "of another"}, size_bytes=5)
    status, chunks = world.board.read_stream(job.job_id)
    assert (status, [chunk["output"] for chunk in chunks]) == (JobStatus.IN_PROGRESS, [0, 1, 2])
    assert world.board.read_stream(job.job_id)[1] == []
    assert world.board.held_bytes == 10


def test_elements_of_a_first_attempt_are_not_mixed_with_those_of_the_second(world: World):
    job = world.submit()
    world.board.take("w1", 1)
    world.board.push("w1", job.job_id, {"output": "first"}, size_bytes=5)
    world.wait(30)
    world.board.take("w2", 1)
    world.board.push("w2", job.job_id, {"output": "second"}, size_bytes=6)
    assert [chunk["output"] for chunk in world.board.read_stream(job.job_id)[1]] == ["second"]


def test_the_queue_is_bounded_in_jobs():
    world = World(replace(Limits(), queued_jobs=2))
    world.submit()
    world.submit()
    with pytest.raises(QueueFullError):
        world.submit()
    world.board.take("w1", 1)
    world.submit()


def test_memory_is_bounded_and_old_results_make_room():
    world = World(replace(Limits(), held_bytes=100))
    first, second = world.submit(40), world.submit(40)
    with pytest.raises(QueueFullError):
        world.submit(30)
    world.board.take("w1", 2)
    world.board.finish("w1", first.job_id, {"output": 1}, size_bytes=50)  # 90 held
    world.submit(30)  # the result goes, the job that runs stays
    with pytest.raises(UnknownJobError):
        world.board.job(first.job_id)
    assert world.board.job(second.job_id) is second
    assert world.board.held_bytes == 70


def test_a_stream_that_nobody_reads_is_bounded():
    world = World(replace(Limits(), result_bytes=100))
    job = world.submit()
    world.board.take("w1", 1)
    for n in range(50):
        world.board.push("w1", job.job_id, {"output": n}, size_bytes=40)
    assert world.board.held_bytes <= 10 + 100
    assert world.board.read_stream(job.job_id)[1][-1] == {"output": 49}


def test_workers_are_bounded():
    world = World(replace(Limits(), workers=3))
    for n in range(10):
        world.board.seen(f"w{n}")
        world.clock.now_s += 1
    assert world.workers["ready"] == 3


WORKERS = st.sampled_from(["w1", "w2", "w3"])


class AnyOrder(RuleBasedStateMachine):
    """Whatever clients, workers and time do: no job is lost, doubled or counted wrong, and the books balance."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(replace(Limits(), queued_jobs=6, held_bytes=400, workers=2))
        self.jobs: list[Job] = []

    @rule(size=st.integers(1, 120), synchronous=st.booleans(), ttl_s=st.integers(10, 60))
    def submit(self, size: int, synchronous: bool, ttl_s: int) -> None:
        policy = Policy(execution_timeout_s=15, ttl_s=ttl_s)
        try:
            self.jobs.append(self.world.submit(size, policy, synchronous=synchronous))
        except QueueFullError:
            held_bytes = sum(job.held_bytes for job in self.jobs if not job.status.final)
            assert self.world.board.queued == 6 or held_bytes + size > 400

    @rule(worker=WORKERS, most=st.integers(1, 4), reaches=st.booleans())
    def take(self, worker: str, most: int, reaches: bool) -> None:
        taken = self.world.board.take(worker, most)
        assert len(taken) <= most
        assert all(job.worker_id == worker for job in taken)
        if not reaches:
            self.world.board.give_back(worker, taken)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), worker=WORKERS, size=st.integers(0, 60), fails=st.booleans())
    def finish(self, data: st.DataObject, worker: str, size: int, fails: bool) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        before = job.status
        own = before is JobStatus.IN_PROGRESS and job.worker_id == worker
        result = {"error": "x"} if fails else {"output": 1}
        self.world.board.finish(worker, job.job_id, result, size_bytes=size)
        # Hearing of a new worker may cost the jobs of the one that was silent longest.
        assert not own or job.status.final or job.status is JobStatus.IN_QUEUE

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), worker=WORKERS, size=st.integers(0, 30))
    def push(self, data: st.DataObject, worker: str, size: int) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        self.world.board.push(worker, job.job_id, {"output": 1}, size_bytes=size)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), action=st.sampled_from(["cancel", "retry", "read_stream"]))
    def client(self, data: st.DataObject, action: str) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        with suppress(UnknownJobError, NotRetryableError):
            getattr(self.world.board, action)(job.job_id)

    @rule()
    def purge(self) -> None:
        self.world.board.purge()
        assert self.world.board.queued == 0

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)
        due_s = self.world.board.next_due_s()
        assert due_s is None or due_s > self.world.clock.now_s

    @invariant()
    def every_job_is_in_one_place(self) -> None:
        board = self.world.board
        assert set(board._queue) == {k for k, job in board._jobs.items() if job.status is JobStatus.IN_QUEUE}
        assert len(board._queue) == len(set(board._queue)) <= 6
        held = [job_id for worker in board._workers.values() for job_id in worker.jobs]
        assert sorted(held) == sorted(
            k for k, job in board._jobs.items() if job.status is JobStatus.IN_PROGRESS
        )
        assert set(board._finished) == {k for k, job in board._jobs.items() if job.status.final}

    @invariant()
    def the_books_balance(self) -> None:
        board = self.world.board
        assert board.held_bytes == sum(job.held_bytes for job in board._jobs.values())
        assert board._jobs.keys() <= {job.job_id for job in self.jobs}


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=40)
