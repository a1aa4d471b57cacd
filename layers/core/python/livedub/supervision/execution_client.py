"""Starts and stops executions of the stream_supervisor state machine."""

from __future__ import annotations

import json
from typing import Any

from livedub.supervision.aws_client import aws_client, aws_errors, error_code

_USED_UP = "ExecutionAlreadyExists"
_GONE = "ExecutionDoesNotExist"


class ExecutionClient:
    """Talks to Step Functions about one state machine."""

    def __init__(self, state_machine_arn: str, client: Any) -> None:
        self._arn = state_machine_arn
        self._client = client

    @classmethod
    def connect(cls, state_machine_arn: str) -> ExecutionClient:
        """A client on the process's own connection."""
        return cls(state_machine_arn, aws_client("stepfunctions"))

    def start(self, stream_id: str, name: str) -> bool:
        """Start an execution for `stream_id`. False when `name` belongs to one that has ended.

        The input follows from the stream alone, so Step Functions answers a repeated start of a running execution
        like the first one, and refuses a name only once its execution is over.

        Raises:
            StoreUnavailableError: Step Functions did not answer.
        """
        given = json.dumps({"stream_id": stream_id, "adopt_from": "", "attempt": 0}, separators=(",", ":"))
        with aws_errors(f"Starting an execution for stream {stream_id}"):
            try:
                self._client.start_execution(stateMachineArn=self._arn, name=name, input=given)
            except self._client.exceptions.ClientError as error:
                if error_code(error) == _USED_UP:
                    return False
                raise
        return True

    def stop(self, name: str, cause: str) -> None:
        """Abort an execution; one that is over, or never was, is fine.

        Raises:
            StoreUnavailableError: Step Functions did not answer.
        """
        with aws_errors(f"Stopping execution {name}"):
            try:
                self._client.stop_execution(
                    executionArn=self._execution_arn(name), error="Stopped", cause=cause[:1_000]
                )
            except self._client.exceptions.ClientError as error:
                if error_code(error) != _GONE:
                    raise

    def _execution_arn(self, name: str) -> str:
        return f"{self._arn.replace(':stateMachine:', ':execution:')}:{name}"
