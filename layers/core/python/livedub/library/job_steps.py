"""What hosts do for the state machine: a whole job, or the steps of one file dubbed by many hosts.

Those are: split it, dub each range, join the parts. One attempt holds the job through all of them. What a host writes
lies under a key made of job and range, so a range that is dubbed twice is written twice with the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

from livedub.library.job_attempt import (
    AttemptEnd,
    AttemptPatience,
    AttemptResult,
    LeaseKeeper,
    as_library_error,
)
from livedub.library.jobs import FencedError, JobStore
from livedub.library.library_errors import LibraryError
from livedub.library.types import Job, JobOutput, JobState, MediaError
from livedub.library.work.work_ports import JobProgress
from livedub.library.work_item import ENDED, RETRY, StepEnd

_SPLIT_SHARE = 0.05
_JOIN_SHARE = 0.05
"""Of a job's progress; what is between them goes to the ranges."""

T = TypeVar("T")
Beat = Callable[[], bool]


class StepFailedError(LibraryError):
    """What the state machine is told: `error` is RETRY or ENDED."""

    def __init__(self, error: str, cause: LibraryError) -> None:
        super().__init__(cause.code, cause.message, cause.remedy)
        self.error = error


def whole_job_end(result: AttemptResult) -> StepEnd:
    """The answer after an attempt at a whole job.

    Raises:
        StepFailedError: RETRY, the job waits for another attempt, or somebody else may still be working on it.
    """
    if result.end in {AttemptEnd.RELEASED, AttemptEnd.LOST}:
        raise StepFailedError(RETRY, FencedError(result.job, result.job.attempt))
    return StepEnd(state=result.job.state, attempt=result.job.attempt)


def split_job(
    job_id: UUID,
    token: str,
    plan_of: Callable[[Job, JobProgress], dict[str, Any]],
    jobs: JobStore,
    patience: AttemptPatience,
    beat: Beat,
) -> StepEnd:
    """Claim the job and say into which ranges it is divided.

    Raises:
        StepFailedError: it failed.
        LibraryError: the catalogue cannot be asked.
    """
    job = jobs.claim(job_id, token)
    if job is None:
        seen = jobs.get(job_id)
        again = seen.state in {JobState.PENDING, JobState.PROCESSING}
        raise StepFailedError(RETRY if again else ENDED, FencedError(seen, seen.attempt))
    try:
        plan = _step(job, jobs, lambda share: plan_of(job, share), patience, (0.0, _SPLIT_SHARE), beat)
    except StepFailedError as failed:
        if failed.error == RETRY:
            jobs.release(job.id, job.attempt)
        raise
    return StepEnd(state=job.state, attempt=job.attempt, plan=plan)


def dub_one_range(
    job_id: UUID,
    attempt: int,
    dub: Callable[[Job, JobProgress], float],
    jobs: JobStore,
    patience: AttemptPatience,
    beat: Beat,
) -> StepEnd:
    """Dub a range of a job that `attempt` holds; `dub` says which part of all ranges is done after it, 0 to 1.

    Raises:
        StepFailedError: it failed.
        LibraryError: the catalogue cannot be asked.
    """
    job = _held(job_id, attempt, jobs)

    def do(share: _Share) -> None:
        share.report(dub(job, _Silent(share)))

    _step(job, jobs, do, patience, (_SPLIT_SHARE, 1 - _SPLIT_SHARE - _JOIN_SHARE), beat)
    return StepEnd(state=job.state, attempt=job.attempt)


def join_job(
    job_id: UUID,
    attempt: int,
    join: Callable[[Job, JobProgress], Sequence[JobOutput]],
    jobs: JobStore,
    patience: AttemptPatience,
    beat: Beat,
) -> StepEnd:
    """Make the outputs of the parts, and end the job.

    Raises:
        StepFailedError: it failed.
        LibraryError: the catalogue cannot be asked.
    """
    seen = jobs.get(job_id)
    if seen.state is JobState.COMPLETED and seen.attempt == attempt:
        # The host before this one did it, and died before it could answer.
        return StepEnd(state=seen.state, attempt=attempt)
    job = _held(job_id, attempt, jobs)

    def do(share: _Share) -> Job:
        return jobs.complete(job.id, job.attempt, join(job, share))

    done = _step(job, jobs, do, patience, (1 - _JOIN_SHARE, _JOIN_SHARE), beat)
    return StepEnd(state=done.state, attempt=done.attempt)


class _Share:
    """A step's progress as a part of the whole job's."""

    def __init__(self, whole: JobProgress, start: float, share: float) -> None:
        self._whole = whole
        self._start = start
        self._share = share

    def report(self, fraction: float) -> None:
        self._whole.report(self._start + self._share * fraction)

    def cancelled(self) -> bool:
        return self._whole.cancelled()


class _Silent:
    """Progress of one range among many: what it is to the whole, only the number of finished ranges says."""

    def __init__(self, whole: JobProgress) -> None:
        self._whole = whole

    def report(self, fraction: float) -> None:
        """Say nothing, but hear of a lost job."""
        _ = fraction
        self._whole.report(0.0)

    def cancelled(self) -> bool:
        return self._whole.cancelled()


def _held(job_id: UUID, attempt: int, jobs: JobStore) -> Job:
    job = jobs.get(job_id)
    if job.state is not JobState.PROCESSING or job.attempt != attempt:
        raise StepFailedError(ENDED, FencedError(job, attempt))
    return job


def _step(
    job: Job,
    jobs: JobStore,
    do: Callable[[_Share], T],
    patience: AttemptPatience,
    share: tuple[float, float],
    beat: Beat,
) -> T:
    with LeaseKeeper(jobs, job, patience, beat) as keeper:
        try:
            return do(_Share(keeper, *share))
        except Exception as error:
            problem = as_library_error(error)
            if keeper.gone:
                raise StepFailedError(ENDED, problem) from error
            if problem.retryable:
                raise StepFailedError(RETRY, problem) from error
            try:
                jobs.fail(job.id, job.attempt, MediaError.of(problem))
            except LibraryError as refused:
                raise StepFailedError(RETRY if refused.retryable else ENDED, problem) from error
            raise StepFailedError(ENDED, problem) from error
