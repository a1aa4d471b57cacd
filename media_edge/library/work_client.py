"""Where a host's work comes from and where its answers go: an SQS queue and the state machine's task tokens."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from livedub.errors import ConfigurationError
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.library_settings import LibrarySettings
from livedub.library.work_item import StepEnd

_TIMEOUT_S = 5.0
_REFUSED = frozenset({"InvalidToken", "TaskTimedOut", "TaskDoesNotExist"})
_LONGEST_ERROR_CHARACTERS = 256
_LONGEST_CAUSE_CHARACTERS = 8_192


class TokenRefusedError(LibraryError):
    """Nobody waits for this answer any more: the execution has ended, or gave the work again."""

    def __init__(self) -> None:
        super().__init__(LibraryErrorCode.FENCED, "The state machine does not wait for this work any more.")


@dataclass(frozen=True, slots=True)
class Message:
    """A message and what it takes to delete it."""

    body: str
    receipt: str


class WorkClient:
    """Blocking; may be used from any thread. Raises LibraryError (QUEUE_DOWN) where AWS does not answer."""

    def __init__(self, queue_url: str, sqs: Any, stepfunctions: Any, *, hidden_s: int) -> None:
        self.hidden_s = hidden_s
        """How long a message stays hidden after each sign of its taker's life; after that another host gets it."""
        self._queue_url = queue_url
        self._sqs = sqs
        self._stepfunctions = stepfunctions

    @classmethod
    def connect(cls, settings: LibrarySettings, *, longest_poll_s: int) -> WorkClient:
        """A client of LIBRARY_WORK_QUEUE_URL; addresses and credentials by boto3's own variables.

        Raises:
            ConfigurationError: the variable is empty.
        """
        if not settings.work_queue_url:
            raise ConfigurationError(
                "LIBRARY_WORK_QUEUE_URL is empty.",
                remedy="Give the output MediaWorkQueueUrl of the library's stack.",
            )
        config = Config(
            connect_timeout=_TIMEOUT_S,
            read_timeout=_TIMEOUT_S + longest_poll_s,
            retries={"mode": "standard", "total_max_attempts": 2},
            max_pool_connections=2 * settings.job_slots + 2,
        )
        session: Any = Session(region_name=settings.region)
        return cls(
            settings.work_queue_url,
            session.client("sqs", config=config),
            session.client("stepfunctions", config=config),
            hidden_s=math.ceil(settings.job_lease_s),
        )

    def receive(self, wait_s: int) -> Message | None:
        """The next message, hidden from others for `hidden_s`."""
        with _down("Receiving work"):
            answer = self._sqs.receive_message(
                QueueUrl=self._queue_url,
                MaxNumberOfMessages=1,
                WaitTimeSeconds=wait_s,
                VisibilityTimeout=self.hidden_s,
            )
        found = answer.get("Messages", [])
        return Message(found[0]["Body"], found[0]["ReceiptHandle"]) if found else None

    def keep(self, message: Message) -> None:
        """Hide it for another `hidden_s`."""
        self._hide(message, self.hidden_s)

    def give_back(self, message: Message) -> None:
        """Let another host have it now."""
        self._hide(message, 0)

    def delete(self, message: Message) -> None:
        """It is dealt with."""
        with _down("Deleting a message"):
            self._sqs.delete_message(QueueUrl=self._queue_url, ReceiptHandle=message.receipt)

    def alive(self, token: str) -> None:
        """Ask whether the state machine still waits.

        Raises:
            TokenRefusedError: it does not.
        """
        with _down("Asking for a task"), _refusals():
            self._stepfunctions.send_task_heartbeat(taskToken=token)

    def succeed(self, token: str, end: StepEnd) -> None:
        """Answer. Raises TokenRefusedError."""
        with _down("Ending a task"), _refusals():
            self._stepfunctions.send_task_success(taskToken=token, output=end.model_dump_json())

    def fail(self, token: str, error: str, cause: str) -> None:
        """Answer that it went wrong. Raises TokenRefusedError."""
        with _down("Failing a task"), _refusals():
            self._stepfunctions.send_task_failure(
                taskToken=token,
                error=error[:_LONGEST_ERROR_CHARACTERS],
                cause=cause[:_LONGEST_CAUSE_CHARACTERS],
            )

    def _hide(self, message: Message, for_s: int) -> None:
        with _down("Keeping a message"):
            self._sqs.change_message_visibility(
                QueueUrl=self._queue_url, ReceiptHandle=message.receipt, VisibilityTimeout=for_s
            )


@contextmanager
def _refusals() -> Generator[None]:
    try:
        yield
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in _REFUSED:
            raise TokenRefusedError from None
        raise


@contextmanager
def _down(doing: str) -> Generator[None]:
    try:
        yield
    except (BotoCoreError, ClientError, ResponseParserError) as error:
        raise LibraryError(
            LibraryErrorCode.QUEUE_DOWN,
            f"{doing} failed: {error}.",
            "Check the host's rights and its network.",
        ) from error
