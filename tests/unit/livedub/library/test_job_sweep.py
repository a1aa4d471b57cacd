import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.library.job_sweep import SWEEP_LIMIT, sweep
from livedub.library.types import Job
from tests.unit.livedub.library.memory_jobs import MemoryJobs, job


class Overdue(MemoryJobs):
    """`count` jobs that nobody cares for."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.found = tuple(job() for _ in range(count))

    def overdue(self, *, pending_s: float, limit: int = 100) -> tuple[Job, ...]:
        assert pending_s == 30
        return self.found[:limit]


class Queue:
    """As an Executor; a hint stays until somebody takes it."""

    def __init__(self, waiting: int | None) -> None:
        self.hints = waiting
        self.submitted: list[Job] = []

    def waiting(self) -> int | None:
        return self.hints

    def submit(self, job: Job) -> None:
        self.submitted.append(job)
        if self.hints is not None:
            self.hints += 1

    def cancel(self, job: Job) -> None:
        raise AssertionError

    def close(self) -> None:
        pass


@pytest.mark.parametrize("waiting", [None, 0, 2])
def test_jobs_that_have_no_hint_get_one(waiting: int | None):
    jobs, queue = Overdue(3), Queue(waiting)
    assert sweep(jobs, queue, pending_s=30) == 3
    assert queue.submitted == list(jobs.found)


@pytest.mark.parametrize(("count", "waiting"), [(3, 3), (3, 400), (0, 0)])
def test_jobs_that_wait_their_turn_are_left_alone(count: int, waiting: int):
    queue = Queue(waiting)
    assert sweep(Overdue(count), queue, pending_s=30) == 0
    assert queue.submitted == []


@given(st.integers(0, 2 * SWEEP_LIMIT), st.integers(0, 2 * SWEEP_LIMIT), st.integers(1, 20))
def test_a_queue_that_nobody_empties_does_not_grow_for_ever(count: int, waiting: int, sweeps: int):
    jobs, queue = Overdue(count), Queue(waiting)
    for _ in range(sweeps):
        sweep(jobs, queue, pending_s=30)
    assert queue.hints is not None
    assert queue.hints <= max(waiting, 2 * count)
