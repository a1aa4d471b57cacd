"""When an execution is started for a stream, and under which name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from livedub.supervision.lease import startable
from livedub.supervision.naming import next_execution_name
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import StreamRecord

_NAME_BUCKET_MS = 10_000
"""Second attempts within one bucket carry one name, so that several at once start one execution."""


class Executions(Protocol):
    """The state machine's executions, by name."""

    def start(self, stream_id: str, name: str) -> bool:
        """Start one; False when the name belongs to one that has ended."""
        ...

    def stop(self, name: str, cause: str) -> None:
        """Abort one; one that is over is fine."""
        ...


class ExecutionStarts:
    """Starts executions. Starting too often does no harm: the name removes duplicates, and the lease admits one."""

    def __init__(self, executions: Executions, policy: SupervisionPolicy, now_ms: Callable[[], int]) -> None:
        self._executions = executions
        self._policy = policy
        self._now_ms = now_ms

    def start(self, record: StreamRecord, name: str = "") -> None:
        """Start the run that follows `record`, as `name` where one is given.

        A name whose execution ended without ever owning the stream is used up for 90 days; then another is taken.

        Raises:
            StoreUnavailableError: Step Functions did not answer; a repeated hook or reconcile starts it later.
        """
        if self._executions.start(record.stream_id, name or next_execution_name(record)):
            return
        salt = f"-again-{self._now_ms() // _NAME_BUCKET_MS}"
        self._executions.start(record.stream_id, next_execution_name(record, salt=salt))

    def start_where_needed(self, record: StreamRecord) -> bool:
        """Start one if a publisher is on, the stream is wanted and nobody owns it; whether that was so."""
        if not startable(record, self._now_ms(), self._policy):
            return False
        self.start(record)
        return True

    def stop(self, name: str, cause: str) -> None:
        """Abort the execution `name`."""
        self._executions.stop(name, cause)
