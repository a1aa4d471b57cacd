"""Callbacks into Step Functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from livedub.supervision.aws_client import aws_errors, error_code
from livedub.supervision.contract import WorkClaim, WorkReport
from media_edge.worker.agent.ports import TokenRefusedError

_REFUSED = frozenset({"InvalidToken", "TaskTimedOut", "TaskDoesNotExist"})


class StepFunctionsTokens:
    """Implements TaskTokens."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def succeed(self, token: str, output: WorkClaim | WorkReport) -> None:
        """See TaskTokens."""
        self._call(
            "Ending a task",
            lambda: self._client.send_task_success(taskToken=token, output=output.model_dump_json()),
        )

    def heartbeat(self, token: str) -> None:
        """See TaskTokens."""
        self._call("A heartbeat", lambda: self._client.send_task_heartbeat(taskToken=token))

    def _call(self, doing: str, call: Callable[[], object]) -> None:
        with aws_errors(doing):
            try:
                call()
            except self._client.exceptions.ClientError as error:
                if error_code(error) in _REFUSED:
                    raise TokenRefusedError(f"{doing} was refused: {error_code(error)}.") from None
                raise
