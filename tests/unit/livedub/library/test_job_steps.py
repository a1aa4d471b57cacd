from collections.abc import Callable
from typing import Any

import pytest

from livedub.library.job_attempt import AttemptEnd, AttemptPatience, AttemptResult
from livedub.library.job_steps import StepFailedError, dub_one_range, join_job, split_job, whole_job_end
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.types import Job, JobOutput, JobState
from livedub.library.work.work_ports import JobProgress
from livedub.library.work_item import ENDED, RETRY, StepEnd
from tests.unit.livedub.library.memory_jobs import OUTPUT, MemoryJobs, job

PATIENCE = AttemptPatience(beat_s=0.01, lease_s=30.0, timeout_s=600.0)
PLAN: dict[str, Any] = {"ranges": [{"index": 0}, {"index": 1}]}
DOWN = LibraryError(LibraryErrorCode.ENDPOINT_DOWN, "Nobody answers.")
BROKEN = LibraryError(LibraryErrorCode.TRUNCATED, "It ends in the middle.")


def alive() -> bool:
    return True


def held() -> MemoryJobs:
    return MemoryJobs(job(state=JobState.PROCESSING, attempt=4))


def split(jobs: MemoryJobs, plan_of: Callable[[Job, JobProgress], dict[str, Any]]) -> StepEnd:
    return split_job(jobs.job.id, "task", plan_of, jobs, PATIENCE, alive)


def dub(jobs: MemoryJobs, work: Callable[[Job, JobProgress], float], attempt: int = 4) -> StepEnd:
    return dub_one_range(jobs.job.id, attempt, work, jobs, PATIENCE, alive)


def join(jobs: MemoryJobs, work: Callable[[Job, JobProgress], list[JobOutput]], attempt: int = 4) -> StepEnd:
    return join_job(jobs.job.id, attempt, work, jobs, PATIENCE, alive)


def failing(error: Exception) -> Callable[[Job, JobProgress], Any]:
    def work(_job: Job, _progress: JobProgress) -> Any:
        raise error

    return work


def telling(jobs: MemoryJobs, fraction: float, answer: Any) -> Callable[[Job, JobProgress], Any]:
    """Work that reports once and waits until it was heard."""

    def work(_job: Job, progress: JobProgress) -> Any:
        progress.report(fraction)
        jobs.heard.clear()
        assert jobs.heard.wait(30)
        return answer

    return work


def test_a_split_claims_the_job_and_answers_its_plan():
    jobs = MemoryJobs()
    end = split(jobs, lambda _job, _progress: PLAN)
    assert end == StepEnd(state=JobState.PROCESSING, attempt=1, plan=PLAN)
    assert jobs.job.state is JobState.PROCESSING


def test_the_same_split_again_takes_over_from_a_dead_host():
    jobs = MemoryJobs()
    split(jobs, lambda _job, _progress: PLAN)
    assert split(jobs, lambda _job, _progress: PLAN).attempt == 2


@pytest.mark.parametrize(
    ("state", "error"),
    [(JobState.CANCELLED, ENDED), (JobState.COMPLETED, ENDED), (JobState.PROCESSING, RETRY)],
)
def test_a_split_of_a_job_that_is_not_to_be_had(state: JobState, error: str):
    jobs = MemoryJobs(job(state=state, attempt=1))
    with pytest.raises(StepFailedError) as caught:
        split(jobs, failing(AssertionError()))
    assert caught.value.error == error


def test_a_split_that_may_be_tried_again_lets_go_of_the_job():
    jobs = MemoryJobs()
    with pytest.raises(StepFailedError) as caught:
        split(jobs, failing(DOWN))
    assert (caught.value.error, jobs.job.state) == (RETRY, JobState.PENDING)


def test_ranges_tell_the_share_of_all_that_is_done():
    jobs = held()
    end = dub(jobs, telling(jobs, 0.9, 0.5))
    assert (end.state, end.attempt) == (JobState.PROCESSING, 4)
    # Its own progress says nothing of the whole; what it answers does.
    assert set(jobs.told) <= {0.0, 0.05, 0.5}


def test_a_join_tells_the_end_of_the_whole():
    jobs = held()
    end = join(jobs, telling(jobs, 0.5, [OUTPUT]))
    assert end == StepEnd(state=JobState.COMPLETED, attempt=4)
    assert jobs.told[-1] == pytest.approx(0.975)
    assert jobs.job.outputs == (OUTPUT,)


def test_a_join_that_was_done_by_a_host_that_died_before_its_answer_is_answered():
    jobs = MemoryJobs(job(state=JobState.COMPLETED, attempt=4))
    assert join(jobs, failing(AssertionError())).state is JobState.COMPLETED


@pytest.mark.parametrize("step", [dub, join])
@pytest.mark.parametrize("now", [{"state": JobState.CANCELLED}, {"attempt": 5}, {"state": JobState.FAILED}])
def test_a_step_of_a_job_that_has_gone_on_ends_there(step: Callable[..., StepEnd], now: dict[str, Any]):
    jobs = held()
    jobs.change(**now)
    with pytest.raises(StepFailedError) as caught:
        step(jobs, failing(AssertionError()))
    assert caught.value.error == ENDED


@pytest.mark.parametrize("step", [dub, join])
def test_a_step_that_fails_fails_the_job(step: Callable[..., StepEnd]):
    jobs = held()
    with pytest.raises(StepFailedError) as caught:
        step(jobs, failing(BROKEN))
    assert (caught.value.error, caught.value.code) == (ENDED, LibraryErrorCode.TRUNCATED)
    assert jobs.job.state is JobState.FAILED
    assert jobs.job.error is not None
    assert jobs.job.error.code is LibraryErrorCode.TRUNCATED


@pytest.mark.parametrize("step", [dub, join])
def test_a_step_that_may_be_tried_again_keeps_the_job(step: Callable[..., StepEnd]):
    jobs = held()
    with pytest.raises(StepFailedError) as caught:
        step(jobs, failing(DOWN))
    assert (caught.value.error, jobs.job.state, jobs.job.attempt) == (RETRY, JobState.PROCESSING, 4)


@pytest.mark.parametrize("step", [dub, join])
def test_a_step_whose_job_is_cancelled_meanwhile_writes_nothing(step: Callable[..., StepEnd]):
    jobs = held()

    def work(_job: Job, progress: JobProgress) -> Any:
        jobs.cancel(jobs.job.id)
        while not progress.cancelled():
            jobs.heard.wait(0.01)
        raise LibraryError(LibraryErrorCode.CANCELLED, "The job was cancelled.")

    with pytest.raises(StepFailedError) as caught:
        step(jobs, work)
    assert (caught.value.error, jobs.job.state) == (ENDED, JobState.CANCELLED)


@pytest.mark.parametrize("end", [AttemptEnd.RELEASED, AttemptEnd.LOST])
def test_a_whole_job_that_did_not_end_is_tried_again(end: AttemptEnd):
    with pytest.raises(StepFailedError) as caught:
        whole_job_end(AttemptResult(end, job(attempt=2)))
    assert caught.value.error == RETRY


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED])
def test_a_whole_job_that_ended_is_answered_as_data(state: JobState):
    result = AttemptResult(AttemptEnd(state.value), job(state=state, attempt=2))
    assert whole_job_end(result) == StepEnd(state=state, attempt=2)
