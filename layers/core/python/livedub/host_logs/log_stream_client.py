"""One stream of CloudWatch Logs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from livedub.host_logs.delivery import EventsRefusedError, LogsUnavailableError
from livedub.host_logs.log_event import LogEvent
from livedub.supervision.aws_client import aws_client, error_code

log = logging.getLogger(__name__)


class LogStreamClient:
    """Puts events into one stream of a group, and makes the stream where it is missing."""

    def __init__(self, group: str, stream: str, *, client: Any = None) -> None:
        self._names = {"logGroupName": group, "logStreamName": stream}
        self._client = client or aws_client("logs")

    def put(self, events: Sequence[LogEvent]) -> None:
        """One call of PutLogEvents; the order is the caller's to keep.

        Raises:
            LogsUnavailableError: no network, throttled, no right, no such group.
            EventsRefusedError: the events are not as AWS wants them.
        """
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]
        from botocore.parsers import ResponseParserError  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]

        found = [{"timestamp": event.timestamp_ms, "message": event.message} for event in events]
        try:
            self._tell_rejected(self._put(found, ClientError))
        except ClientError as error:
            if error_code(error) == "InvalidParameterException":
                raise EventsRefusedError(f"PutLogEvents refused them: {error}.") from error
            raise self._unavailable(error) from error
        except (BotoCoreError, ResponseParserError) as error:
            raise self._unavailable(error) from error

    def _put(self, found: list[dict[str, Any]], client_error: Any) -> Mapping[str, Any]:
        try:
            return self._client.put_log_events(**self._names, logEvents=found)
        except client_error as error:
            if error_code(error) != "ResourceNotFoundException":
                raise
        try:
            self._client.create_log_stream(**self._names)
        except client_error as error:
            if error_code(error) != "ResourceAlreadyExistsException":
                raise
        return self._client.put_log_events(**self._names, logEvents=found)

    def _unavailable(self, error: Exception) -> LogsUnavailableError:
        return LogsUnavailableError(
            f"{self._names['logGroupName']} took nothing: {error}.",
            remedy="See that the group is there, that this host may write to it, and that Logs can be reached.",
        )

    def _tell_rejected(self, answer: Mapping[str, Any]) -> None:
        """Events older than the group keeps them, or from the future, are left out by AWS alone."""
        rejected = answer.get("rejectedLogEventsInfo")
        if rejected:
            log.warning("CloudWatch Logs left out lines that are too old, or of the future: %s", rejected)
