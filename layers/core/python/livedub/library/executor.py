"""Who runs jobs: one port, two executors, told apart by LIVEDUB_EXECUTOR.

What is submitted is a hint: that this job should be worked on. The job's row decides who does (its lease), so a hint that
comes twice does no harm, and one that is lost is given again (`sweep`).
"""

from __future__ import annotations

from typing import Protocol

from livedub.library.library_settings import Executor as ExecutorName
from livedub.library.library_settings import LibrarySettings
from livedub.library.types import Job


class Executor(Protocol):
    """Takes jobs that are PENDING in the catalogue and sees to it that somebody works on them."""

    def submit(self, job: Job) -> None:
        """Put the job into the queue. A second call for the same submission changes nothing.

        Raises:
            LibraryError: QUEUE_DOWN, nobody takes it now; the job may be submitted again later.
        """
        ...

    def cancel(self, job: Job) -> None:
        """Tell whoever works on it, after the catalogue says CANCELLED; they ask there themselves, too.

        Raises:
            LibraryError: QUEUE_DOWN; the cancellation holds all the same.
        """
        ...

    def waiting(self) -> int | None:
        """How many hints nobody has taken yet; None where a hint that is there already does not come twice.

        Raises:
            LibraryError: QUEUE_DOWN.
        """
        ...

    def close(self) -> None:
        """Let connections go."""
        ...


def executor_from(settings: LibrarySettings) -> Executor:
    """The executor that LIVEDUB_EXECUTOR names. Connects when it is first used.

    Raises:
        ConfigurationError: what this executor needs is not set.
        MissingPrerequisiteError: what this executor needs is not installed.
    """
    if settings.executor is ExecutorName.STEP_FUNCTIONS:
        from livedub.library.step_functions_client import StepFunctionsExecutor  # noqa: PLC0415 - brings boto3

        return StepFunctionsExecutor.connect(settings)
    from livedub.library.celery_executor import CeleryExecutor  # noqa: PLC0415 - brings Celery

    return CeleryExecutor.connect(settings)
