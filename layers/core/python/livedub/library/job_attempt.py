"""One attempt at a job, the same whoever runs it: claim it, work, keep the lease, say in the catalogue how it ended.

The row's lease decides who works on a job, and `attempt` fences off whoever had it before. An attempt that has lost its
job stops by itself, and nothing that it still says is heard.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from uuid import UUID

from livedub.errors import LivedubError
from livedub.library.jobs import JobStore
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.types import Job, JobOutput, JobState, MediaError
from livedub.library.work.work_ports import JobProgress

logger = logging.getLogger(__name__)

_JOIN_S = 10.0
_PAUSE_S = 0.5

JobWork = Callable[[Job, JobProgress], Sequence[JobOutput]]
"""What is to be done for a job; raises LibraryError where it cannot be."""


class AttemptEnd(str, Enum):
    """How an attempt ended."""

    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    RELEASED = "RELEASED"
    """Something that heals by itself was in the way; the job waits for the next attempt."""
    LOST = "LOST"
    """Somebody else has it, or will have; nothing is to be done here."""


_ENDS = {
    JobState.COMPLETED: AttemptEnd.COMPLETED,
    JobState.FAILED: AttemptEnd.FAILED,
    JobState.CANCELLED: AttemptEnd.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """How it ended, and the job as it was seen last; `error` of a failed or released one."""

    end: AttemptEnd
    job: Job
    error: MediaError | None = None


@dataclass(frozen=True, slots=True)
class AttemptPatience:
    """How an attempt keeps its job: LIBRARY_JOB_BEAT_S, _LEASE_S and _TIMEOUT_S.

    Attributes:
        beat_s: how often it gives a sign of life.
        lease_s: after so long without one it has lost the job.
        timeout_s: how long it may take.
        hands_over: when its time is over, the job waits for somebody with more of it, and has not failed.
    """

    beat_s: float
    lease_s: float
    timeout_s: float
    hands_over: bool = False


class LeaseKeeper:
    """A thread that stores the progress, and with it renews the lease, for as long as the block lasts.

    Implements JobProgress. A cancelled job's work is told to stop and to take away what it has stored; the work of an
    attempt that was fenced off gets FencedError instead, because what it finds stored may be its successor's.
    `beat` is called as often, for whoever else waits for a sign of life; it answers whether to go on.
    """

    def __init__(
        self, jobs: JobStore, job: Job, patience: AttemptPatience, beat: Callable[[], bool] | None = None
    ) -> None:
        self._jobs = jobs
        self._job = job
        self._patience = patience
        self._beat = beat
        self._fraction = job.progress
        self._stop = threading.Event()
        self._cancelled = threading.Event()
        self._lost: LibraryError | None = None
        self._told_at_s = time.monotonic()
        self._give_up_at_s = self._told_at_s + patience.timeout_s
        self._thread = threading.Thread(target=self._run, name=f"lease of {job.id}", daemon=True)

    @property
    def gone(self) -> bool:
        """The job was cancelled, is somebody else's, or may be by now."""
        return self._cancelled.is_set() or self._lost is not None

    @property
    def out_of_time(self) -> bool:
        """The attempt has taken longer than an attempt may."""
        return time.monotonic() >= self._give_up_at_s

    def report(self, fraction: float) -> None:
        """See JobProgress; told with the next beat.

        Raises:
            LibraryError: FENCED.
        """
        self._stop_if_lost()
        self._fraction = min(1.0, max(self._fraction, fraction))

    def cancelled(self) -> bool:
        """See JobProgress.

        Raises:
            LibraryError: FENCED.
        """
        self._stop_if_lost()
        return self._cancelled.is_set() or self.out_of_time

    def __enter__(self) -> LeaseKeeper:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(_JOIN_S)

    def _stop_if_lost(self) -> None:
        if self._lost is not None:
            raise self._lost

    def _run(self) -> None:
        while not self.gone and not self._stop.wait(self._patience.beat_s):
            self._tell()

    def _tell(self) -> None:
        try:
            if not self._jobs.progress(self._job.id, self._job.attempt, self._fraction):
                self._see_why()
            elif self._beat is not None and not self._beat():
                self._lose("whoever gave the job does not wait for it any more")
            self._told_at_s = time.monotonic()
        except LivedubError as error:
            silent_s = time.monotonic() - self._told_at_s
            logger.warning("job %s: no sign of life for %.0f s: %s", self._job.id, silent_s, error)
            if silent_s + self._patience.beat_s >= self._patience.lease_s:
                self._lose("the catalogue could not be told for a whole lease")

    def _see_why(self) -> None:
        seen = self._jobs.get(self._job.id)
        if seen.state is JobState.CANCELLED and seen.attempt == self._job.attempt:
            self._cancelled.set()
        else:
            self._lose(f"it is {seen.state.value} at attempt {seen.attempt}")

    def _lose(self, why: str) -> None:
        self._lost = LibraryError(
            LibraryErrorCode.FENCED, f"Attempt {self._job.attempt} has lost job {self._job.id}: {why}."
        )


def attempt_job(
    job_id: UUID,
    *,
    token: str,
    jobs: JobStore,
    work: JobWork,
    patience: AttemptPatience,
    beat: Callable[[], bool] | None = None,
) -> AttemptResult:
    """Claim the job, do `work`, and store the end.

    Args:
        job_id: which one.
        token: names this delivery of the job. The same token again means that the one who had it is dead.
        jobs: the catalogue.
        work: what is to be done.
        patience: how the lease is kept.
        beat: see LeaseKeeper.

    Raises:
        LibraryError: the catalogue cannot be asked (CATALOGUE_DOWN), or knows no such job (NO_SUCH_JOB).
    """
    job = jobs.claim(job_id, token)
    if job is None:
        job = jobs.get(job_id)
        return AttemptResult(_ENDS.get(job.state, AttemptEnd.LOST), job, job.error)
    return work_on(job, jobs=jobs, work=work, patience=patience, beat=beat)


def work_on(
    job: Job,
    *,
    jobs: JobStore,
    work: JobWork,
    patience: AttemptPatience,
    beat: Callable[[], bool] | None = None,
) -> AttemptResult:
    """`attempt_job` from where the job is claimed."""
    with LeaseKeeper(jobs, job, patience, beat) as keeper:
        try:
            outputs = work(job, keeper)
        except Exception as error:  # noqa: BLE001 - whatever it was, the row must say so
            return _ended_by(error, job, jobs, keeper, patience)
        return _settled(
            lambda: AttemptResult(AttemptEnd.COMPLETED, jobs.complete(job.id, job.attempt, outputs)),
            job,
            jobs,
            patience,
        )


def as_library_error(error: Exception) -> LibraryError:
    """Whatever was raised, as what a job's row can hold."""
    if isinstance(error, LibraryError):
        return error
    if isinstance(error, LivedubError):
        return LibraryError(LibraryErrorCode.WORK_FAILED, error.message, error.remedy)
    logger.error("unexpected", exc_info=error)
    return LibraryError(
        LibraryErrorCode.WORK_FAILED,
        f"{type(error).__name__}: {error}",
        "This is a defect: the worker's log holds its trace.",
    )


def _ended_by(
    error: Exception, job: Job, jobs: JobStore, keeper: LeaseKeeper, patience: AttemptPatience
) -> AttemptResult:
    problem = as_library_error(error)
    out_of_time = keeper.out_of_time and not keeper.gone
    if out_of_time:
        problem = LibraryError(
            LibraryErrorCode.TIMED_OUT,
            f"The attempt took longer than {patience.timeout_s:g} s.",
            "Raise LIBRARY_JOB_TIMEOUT_S, or cut the file into pieces.",
        )

    def say() -> AttemptResult:
        if keeper.gone:
            return _seen(job, jobs)
        if problem.retryable or (out_of_time and patience.hands_over):
            return AttemptResult(
                AttemptEnd.RELEASED, jobs.release(job.id, job.attempt), MediaError.of(problem)
            )
        said = MediaError.of(problem)
        return AttemptResult(AttemptEnd.FAILED, jobs.fail(job.id, job.attempt, said), said)

    return _settled(say, job, jobs, patience)


def _settled(
    say: Callable[[], AttemptResult], job: Job, jobs: JobStore, patience: AttemptPatience
) -> AttemptResult:
    """Say it until the catalogue has heard it; silence for a whole lease means that the next attempt begins."""
    give_up_at_s = time.monotonic() + patience.lease_s
    while True:
        try:
            return say()
        except LibraryError as error:
            if error.code in {
                LibraryErrorCode.FENCED,
                LibraryErrorCode.CANCELLED,
                LibraryErrorCode.ILLEGAL_TRANSITION,
            }:
                return _seen(job, jobs)
            problem: LivedubError = error
        except LivedubError as error:
            problem = error
        if time.monotonic() >= give_up_at_s:
            logger.error("job %s: its end could not be stored: %s", job.id, problem)
            return AttemptResult(AttemptEnd.LOST, job)
        time.sleep(_PAUSE_S)


def _seen(job: Job, jobs: JobStore) -> AttemptResult:
    seen = jobs.get(job.id)
    ours = seen.attempt == job.attempt
    return AttemptResult(
        _ENDS.get(seen.state, AttemptEnd.LOST) if ours else AttemptEnd.LOST, seen, seen.error
    )
