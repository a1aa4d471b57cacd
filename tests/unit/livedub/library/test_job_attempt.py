import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from livedub.errors import LivedubError
from livedub.library.job_attempt import AttemptEnd, AttemptPatience, AttemptResult, attempt_job
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.types import Job, JobOutput, JobState
from livedub.library.work.work_ports import JobCancelledError, JobProgress
from tests.unit.livedub.library.memory_jobs import OUTPUT, MemoryJobs, job

BOUND_S = 30.0
PATIENCE = AttemptPatience(beat_s=0.01, lease_s=30.0, timeout_s=600.0)
SHORT_LEASE = replace(PATIENCE, lease_s=0.3)


def done(_job: Job, _progress: JobProgress) -> list[JobOutput]:
    return [OUTPUT]


def until_stopped(_job: Job, progress: JobProgress) -> list[JobOutput]:
    """Work that ends only when it is told to."""
    give_up_at = time.monotonic() + BOUND_S
    while time.monotonic() < give_up_at:
        if progress.cancelled():
            raise JobCancelledError
        time.sleep(0.005)
    raise AssertionError("nobody stopped the work")


def attempt(
    jobs: MemoryJobs,
    work: Callable[[Job, JobProgress], list[JobOutput]] = done,
    patience: AttemptPatience = PATIENCE,
    beat: Callable[[], bool] | None = None,
    delivery: str = "first",
) -> AttemptResult:
    return attempt_job(jobs.job.id, token=delivery, jobs=jobs, work=work, patience=patience, beat=beat)


def raising(error: Exception) -> Callable[[Job, JobProgress], list[JobOutput]]:
    def work(_job: Job, _progress: JobProgress) -> list[JobOutput]:
        raise error

    return work


def meanwhile(jobs: MemoryJobs, act: Callable[[], object]) -> Callable[[Job, JobProgress], list[JobOutput]]:
    """Work during which something happens, once its lease was kept for the first time."""

    def work(job: Job, progress: JobProgress) -> list[JobOutput]:
        assert jobs.heard.wait(BOUND_S)
        act()
        return until_stopped(job, progress)

    return work


def test_a_job_is_claimed_done_and_completed():
    jobs = MemoryJobs()
    result = attempt(jobs)
    assert (result.end, result.job.attempt, result.job.outputs) == (AttemptEnd.COMPLETED, 1, (OUTPUT,))
    assert jobs.job.state is JobState.COMPLETED


def test_progress_is_told_and_never_falls():
    jobs = MemoryJobs()

    def work(_job: Job, progress: JobProgress) -> list[JobOutput]:
        for fraction in (0.2, 0.7, 0.5, 2.0):
            progress.report(fraction)
            jobs.heard.clear()
            assert jobs.heard.wait(BOUND_S)
        return [OUTPUT]

    assert attempt(jobs, work).end is AttemptEnd.COMPLETED
    assert jobs.told == sorted(jobs.told)
    assert jobs.told[-1] == 1.0
    assert 0.7 in jobs.told


@pytest.mark.parametrize(
    ("state", "end"),
    [
        (JobState.COMPLETED, AttemptEnd.COMPLETED),
        (JobState.FAILED, AttemptEnd.FAILED),
        (JobState.CANCELLED, AttemptEnd.CANCELLED),
        (JobState.PROCESSING, AttemptEnd.LOST),
    ],
)
def test_a_job_that_is_not_to_be_had_is_left_alone(state: JobState, end: AttemptEnd):
    jobs = MemoryJobs(job(state=state, attempt=3))
    result = attempt(jobs, raising(AssertionError("nothing is to be done")))
    assert (result.end, result.job.attempt, jobs.job.attempt) == (end, 3, 3)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (
            LibraryError(LibraryErrorCode.NOT_MEDIA, "It is no media.", "Send media."),
            LibraryErrorCode.NOT_MEDIA,
        ),
        (LivedubError("The service is odd."), LibraryErrorCode.WORK_FAILED),
        (ZeroDivisionError("by zero"), LibraryErrorCode.WORK_FAILED),
    ],
)
def test_work_that_fails_fails_the_job_with_its_code(error: Exception, code: LibraryErrorCode):
    jobs = MemoryJobs()
    result = attempt(jobs, raising(error))
    assert result.end is AttemptEnd.FAILED
    assert jobs.job.error is not None
    assert jobs.job.error.code is code
    assert jobs.job.error.message


def test_what_heals_by_itself_puts_the_job_back():
    jobs = MemoryJobs()
    result = attempt(jobs, raising(LibraryError(LibraryErrorCode.ENDPOINT_DOWN, "Nobody answers.")))
    assert (result.end, jobs.job.state, jobs.job.error) == (AttemptEnd.RELEASED, JobState.PENDING, None)
    assert result.error is not None
    assert result.error.code is LibraryErrorCode.ENDPOINT_DOWN


def test_a_cancelled_jobs_work_is_stopped_and_may_clean_up():
    jobs = MemoryJobs()
    result = attempt(jobs, meanwhile(jobs, lambda: jobs.cancel(jobs.job.id)))
    assert (result.end, jobs.job.state) == (AttemptEnd.CANCELLED, JobState.CANCELLED)


def test_an_attempt_that_was_fenced_off_is_not_told_that_it_was_cancelled():
    """Whoever was cancelled takes away what it has stored; that may be its successor's by now."""
    jobs = MemoryJobs()
    seen: list[LibraryError] = []

    def work(one: Job, progress: JobProgress) -> list[JobOutput]:
        try:
            return meanwhile(jobs, lambda: jobs.change(attempt=2))(one, progress)
        except LibraryError as error:
            seen.append(error)
            with pytest.raises(LibraryError):
                progress.report(0.5)
            raise

    result = attempt(jobs, work)
    assert (result.end, jobs.job.state, jobs.job.attempt) == (AttemptEnd.LOST, JobState.PROCESSING, 2)
    assert [error.code for error in seen] == [LibraryErrorCode.FENCED]


def test_work_that_never_asks_cannot_complete_a_job_it_has_lost():
    jobs = MemoryJobs()

    def work(_job: Job, _progress: JobProgress) -> list[JobOutput]:
        jobs.change(state=JobState.COMPLETED, attempt=2, outputs=())
        return [OUTPUT]

    result = attempt(jobs, work)
    assert (result.end, jobs.job.outputs) == (AttemptEnd.LOST, ())


def test_the_same_delivery_again_takes_over_and_another_one_does_not():
    jobs = MemoryJobs()
    jobs.claim(jobs.job.id, "first")
    assert attempt(jobs, delivery="another").end is AttemptEnd.LOST
    result = attempt(jobs)
    assert (result.end, result.job.attempt) == (AttemptEnd.COMPLETED, 2)


def test_an_attempt_that_cannot_say_for_a_lease_that_it_lives_stops():
    jobs = MemoryJobs()

    def cut() -> None:
        jobs.down = -1

    def work(one: Job, progress: JobProgress) -> list[JobOutput]:
        try:
            return meanwhile(jobs, cut)(one, progress)
        finally:
            jobs.down = 0

    assert attempt(jobs, work, SHORT_LEASE).end is AttemptEnd.LOST
    assert jobs.job.state is JobState.PROCESSING


def test_a_moment_without_the_catalogue_changes_nothing():
    jobs = MemoryJobs()

    def work(_job: Job, progress: JobProgress) -> list[JobOutput]:
        jobs.down = 2
        for _ in range(3):
            jobs.heard.clear()
            assert jobs.heard.wait(BOUND_S)
        assert not progress.cancelled()
        # The end itself finds the catalogue down, too.
        jobs.down = 1
        return [OUTPUT]

    assert attempt(jobs, work).end is AttemptEnd.COMPLETED


def test_an_end_that_cannot_be_stored_is_left_to_the_next_attempt():
    jobs = MemoryJobs()

    def work(_job: Job, _progress: JobProgress) -> list[JobOutput]:
        jobs.down = -1
        return [OUTPUT]

    assert attempt(jobs, work, SHORT_LEASE).end is AttemptEnd.LOST
    jobs.down, jobs.lease_over = 0, True
    assert attempt(jobs, delivery="next").job.attempt == 2


def test_whoever_else_waits_for_a_sign_of_life_may_end_it():
    jobs = MemoryJobs()
    beats = iter([True, True, False])
    assert attempt(jobs, until_stopped, beat=lambda: next(beats)).end is AttemptEnd.LOST
    assert next(beats, "used up") == "used up"


def test_an_attempt_that_takes_too_long_fails():
    jobs = MemoryJobs()
    result = attempt(jobs, until_stopped, replace(PATIENCE, timeout_s=0.1))
    assert result.end is AttemptEnd.FAILED
    assert jobs.job.error is not None
    assert jobs.job.error.code is LibraryErrorCode.TIMED_OUT


def test_an_attempt_with_little_time_hands_its_job_over_instead():
    jobs = MemoryJobs()
    result = attempt(jobs, until_stopped, replace(PATIENCE, timeout_s=0.1, hands_over=True))
    assert (result.end, jobs.job.state) == (AttemptEnd.RELEASED, JobState.PENDING)


def test_the_lease_is_kept_by_a_thread_that_ends_with_the_work():
    jobs = MemoryJobs()
    attempt(jobs)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lease of")]
