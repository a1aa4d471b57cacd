"""The steps of one file dubbed by many hosts: split it, dub each range, join the parts.

One attempt holds the job through all of them. What a host writes lies under a key made of job and range, so a range that
is dubbed twice is written twice with the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from pydantic import Field

from livedub.library.job_attempt import (
    AttemptPatience,
    AttemptResult,
    JobWork,
    LeaseKeeper,
    as_library_error,
    work_on,
)
from livedub.library.jobs import JobStore
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.types import Job, JobState, MediaError, Wire
from livedub.library.work.work_ports import JobProgress

SPLIT_SHARE = 0.05
JOIN_SHARE = 0.05
"""Of a job's progress; what is between them goes to the ranges."""


class HeldJob(Wire):
    """A job that one attempt holds from step to step."""

    job_id: UUID
    attempt: int = Field(ge=1)


class _Share:
    """A step's progress as a part of the whole job's."""

    def __init__(self, whole: JobProgress, start: float, share: float) -> None:
        self._whole = whole
        self._start = start
        self._share = share

    def report(self, fraction: float) -> None:
        """See JobProgress."""
        self._whole.report(self._start + self._share * fraction)

    def cancelled(self) -> bool:
        """See JobProgress."""
        return self._whole.cancelled()


def held(step: HeldJob, jobs: JobStore) -> Job:
    """The job, while `step.attempt` holds it.

    Raises:
        LibraryError: FENCED or CANCELLED, it does so no more.
    """
    job = jobs.get(step.job_id)
    if job.state is JobState.PROCESSING and job.attempt == step.attempt:
        return job
    code = LibraryErrorCode.CANCELLED if job.state is JobState.CANCELLED else LibraryErrorCode.FENCED
    raise LibraryError(code, f"Job {job.id} is {job.state.value} at attempt {job.attempt}, not ours.")


def run_step(
    job: Job,
    jobs: JobStore,
    do: Callable[[JobProgress], object],
    *,
    patience: AttemptPatience,
    share: tuple[float, float],
    beat: Callable[[], bool] | None = None,
) -> None:
    """Do one step of a job that is held already; the job goes on after it.

    Args:
        job: the job, claimed.
        jobs: the catalogue.
        do: the step's work.
        patience: how the lease is kept.
        share: where the step begins in the job's progress, and how much of it it is.
        beat: see LeaseKeeper.

    Raises:
        LibraryError: what went wrong; FENCED where the job was lost. Unless the problem heals by itself, the job
            has FAILED in the catalogue.
    """
    with LeaseKeeper(jobs, job, patience, beat) as keeper:
        try:
            do(_Share(keeper, *share))
        except Exception as error:
            problem = as_library_error(error)
            if not keeper.gone and not problem.retryable:
                jobs.fail(job.id, job.attempt, MediaError.of(problem))
            raise problem from error


def join_step(
    job: Job,
    jobs: JobStore,
    work: JobWork,
    *,
    patience: AttemptPatience,
    beat: Callable[[], bool] | None = None,
) -> AttemptResult:
    """The last step: `work` gives the outputs, and the job ends."""
    return work_on(
        job,
        jobs=jobs,
        work=lambda job, progress: work(job, _Share(progress, 1 - JOIN_SHARE, JOIN_SHARE)),
        patience=patience,
        beat=beat,
    )
