"""The SQS queue of work."""

from __future__ import annotations

from typing import Any

from livedub.supervision.aws_client import aws_errors
from media_edge.worker.agent.ports import QueuedMessage

_HIDDEN_S = 10
"""How long a message that was handed out stays hidden. A poll whose connection broke may have been answered all the
same: nobody has that message, and the stream waits for so long. A message that reappears too early does no harm, because
work can be claimed once."""


class SqsWorkQueue:
    """Implements WorkQueue."""

    def __init__(self, queue_url: str, client: Any) -> None:
        self._queue_url = queue_url
        self._client = client

    def receive(self, count: int, wait_s: int) -> list[QueuedMessage]:
        """See WorkQueue."""
        with aws_errors("Receiving work"):
            answer = self._client.receive_message(
                QueueUrl=self._queue_url,
                MaxNumberOfMessages=count,
                WaitTimeSeconds=wait_s,
                VisibilityTimeout=_HIDDEN_S,
            )
        return [QueuedMessage(m["Body"], m["ReceiptHandle"]) for m in answer.get("Messages", [])]

    def delete(self, message: QueuedMessage) -> None:
        """See WorkQueue."""
        with aws_errors("Deleting a message"):
            self._client.delete_message(QueueUrl=self._queue_url, ReceiptHandle=message.receipt)

    def give_back(self, message: QueuedMessage) -> None:
        """See WorkQueue."""
        with aws_errors("Giving a message back"):
            self._client.change_message_visibility(
                QueueUrl=self._queue_url, ReceiptHandle=message.receipt, VisibilityTimeout=0
            )
