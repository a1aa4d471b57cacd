import json
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from livedub.errors import ConfigurationError
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.library_settings import LibrarySettings
from livedub.library.step_functions_client import StepFunctionsExecutor
from tests.unit.livedub.library.memory_jobs import job

MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:media-job"
JOB = job(submission=3)


class Exceptions:
    class ExecutionAlreadyExists(ClientError):  # noqa: N818 - theirs
        pass

    class ExecutionDoesNotExist(ClientError):  # noqa: N818 - theirs
        pass


class Client:
    """Step Functions that answers what it is told to."""

    exceptions = Exceptions

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.calls: list[dict[str, Any]] = []

    def start_execution(self, **arguments: Any) -> None:
        self._call(arguments)

    def stop_execution(self, **arguments: Any) -> None:
        self._call(arguments)

    def _call(self, arguments: dict[str, Any]) -> None:
        self.calls.append(arguments)
        if self.error is not None:
            raise self.error


def refused(kind: type[ClientError]) -> ClientError:
    return kind({"Error": {"Code": kind.__name__}}, "StartExecution")


def test_the_execution_is_named_after_the_submission():
    client = Client()
    StepFunctionsExecutor(client, MACHINE).submit(JOB)
    (call,) = client.calls
    assert call["stateMachineArn"] == MACHINE
    assert call["name"] == f"{JOB.id}-3"
    assert len(call["name"]) <= 80
    assert json.loads(call["input"]) == {"job_id": str(JOB.id), "submission": 3}


def test_a_cancellation_stops_the_same_execution():
    client = Client()
    StepFunctionsExecutor(client, MACHINE).cancel(JOB)
    arn = MACHINE.replace(":stateMachine:", ":execution:")
    assert client.calls[0]["executionArn"] == f"{arn}:{JOB.id}-3"


def test_what_is_there_already_and_what_is_gone_is_no_error():
    StepFunctionsExecutor(Client(refused(Exceptions.ExecutionAlreadyExists)), MACHINE).submit(JOB)
    StepFunctionsExecutor(Client(refused(Exceptions.ExecutionDoesNotExist)), MACHINE).cancel(JOB)


@pytest.mark.parametrize(
    "error", [refused(ClientError), EndpointConnectionError(endpoint_url="http://localhost:1")]
)
@pytest.mark.parametrize("doing", ["submit", "cancel"])
def test_aws_that_does_not_answer_is_a_queue_that_is_down(error: Exception, doing: str):
    executor = StepFunctionsExecutor(Client(error), MACHINE)
    with pytest.raises(LibraryError) as caught:
        getattr(executor, doing)(JOB)
    assert caught.value.code is LibraryErrorCode.QUEUE_DOWN
    assert caught.value.retryable


def test_a_machine_that_nobody_named_is_said_at_once():
    with pytest.raises(ConfigurationError, match="LIBRARY_STATE_MACHINE_ARN"):
        StepFunctionsExecutor.connect(LibrarySettings.model_validate({"executor": "stepfunctions"}))
