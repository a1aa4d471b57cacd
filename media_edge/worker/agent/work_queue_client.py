"""The SQS queue of work."""

from __future__ import annotations

from typing import Any

from livedub.supervision.aws_client import aws_errors
from media_edge.worker.agent.ports import QueuedMessage


class SqsWorkQueue:
    """Implements WorkQueue."""

    def __init__(self, queue_url: str, client: Any) -> None:
        self._queue_url = queue_url
        self._client = client

    def receive(self, count: int, wait_s: int) -> list[QueuedMessage]:
        """See WorkQueue."""
        with aws_errors("Receiving work"):
            answer = self._client.receive_message(
                QueueUrl=self._queue_url, MaxNumberOfMessages=count, WaitTimeSeconds=wait_s
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
