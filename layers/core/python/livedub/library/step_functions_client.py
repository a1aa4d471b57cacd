"""The executor of AWS: one execution of the state machine `media_job` for each submission of a job."""

from __future__ import annotations

import json
from typing import Any, cast

from livedub.errors import ConfigurationError
from livedub.library.job_names import submission_name
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.library_settings import LibrarySettings
from livedub.library.types import Job

_TIMEOUT_S = 5.0
_ATTEMPTS = 3


def _client(region: str) -> Any:
    """A client with bounded waits; address and credentials by boto3's own variables."""
    import boto3  # noqa: PLC0415 - slow to load # pyright: ignore[reportMissingTypeStubs]
    from botocore.config import Config  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]

    config = Config(
        connect_timeout=_TIMEOUT_S,
        read_timeout=_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
    )
    return cast("Any", boto3).session.Session(region_name=region).client("stepfunctions", config=config)


class StepFunctionsExecutor:
    """Implements Executor."""

    def __init__(self, client: Any, state_machine_arn: str) -> None:
        self._client = client
        self._machine = state_machine_arn

    @classmethod
    def connect(cls, settings: LibrarySettings) -> StepFunctionsExecutor:
        """See executor_from.

        Raises:
            ConfigurationError: LIBRARY_STATE_MACHINE_ARN is empty.
        """
        if not settings.state_machine_arn:
            raise ConfigurationError(
                "LIBRARY_STATE_MACHINE_ARN is empty, and LIVEDUB_EXECUTOR is stepfunctions.",
                remedy="Give the output MediaJobArn of the stack of the library.",
            )
        return cls(_client(settings.region), settings.state_machine_arn)

    def submit(self, job: Job) -> None:
        """See Executor. An execution of this name, running or closed, is the submission's own."""
        try:
            self._client.start_execution(
                stateMachineArn=self._machine,
                name=submission_name(job),
                input=json.dumps({"job_id": str(job.id), "submission": job.submission}),
            )
        except self._client.exceptions.ExecutionAlreadyExists:
            return
        except _failures() as error:
            raise _queue_down(f"Step Functions does not take job {job.id}", error) from error

    def cancel(self, job: Job) -> None:
        """See Executor. Ends the execution, so that nothing of it is begun any more."""
        execution = f"{self._machine.replace(':stateMachine:', ':execution:')}:{submission_name(job)}"
        try:
            self._client.stop_execution(
                executionArn=execution, error="Job.Cancelled", cause="The job was cancelled."
            )
        except self._client.exceptions.ExecutionDoesNotExist:
            return
        except _failures() as error:
            raise _queue_down(f"Step Functions does not end job {job.id}", error) from error

    def waiting(self) -> None:
        """See Executor. An execution's name keeps it from coming twice."""

    def close(self) -> None:
        """See Executor."""
        self._client.close()


def _failures() -> tuple[type[Exception], ...]:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]
    from botocore.parsers import ResponseParserError  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]

    return cast("tuple[type[Exception], ...]", (BotoCoreError, ClientError, ResponseParserError))


def _queue_down(what: str, error: Exception) -> LibraryError:
    return LibraryError(
        LibraryErrorCode.QUEUE_DOWN,
        f"{what}: {error}.",
        "Check LIBRARY_STATE_MACHINE_ARN, the rights to it, and that AWS can be reached.",
    )
