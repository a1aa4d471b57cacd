"""SQS: no message is lost between threads, and none goes to a poll whose client is gone."""

from __future__ import annotations

import time
from typing import Any

from local.aws.connection import client_waits
from local.aws.overlay.patching import Patch

_LOOK_S = 0.5
"""How long a poll sleeps at most before it looks whether its client is still there."""
_PAUSE_S = 0.01


def patches() -> list[Patch]:
    """The patches of SQS."""
    return [
        Patch(
            "moto.sqs.models:SQSBackend.receive_message",
            "065f3e5e7d21",
            "moto hands messages to polls whose client has died, and fails when two polls meet",
            _receive,
        ),
        Patch(
            "moto.sqs.models:Queue.delete_message",
            "fa6fd5b9bd2c",
            "a message that is sent while moto deletes another one is lost",
            _delete_locked,
        ),
        Patch(
            "moto.sqs.models:SQSBackend.change_message_visibility",
            "f0e9df5f6662",
            "as receive_message: it changes the set of messages in flight",
            _change_locked,
        ),
    ]


def _receive(original: Any) -> Any:
    def receive_message(
        self: Any,
        queue_name: str,
        count: int,
        wait_seconds_timeout: int,
        visibility_timeout: int,
        message_attribute_names: list[str] | None = None,
    ) -> list[Any]:
        queue = self.get_queue(queue_name)
        deadline_s = time.monotonic() + wait_seconds_timeout
        while client_waits():
            with queue._messages_lock:  # noqa: SLF001 - the one that sending takes
                messages = original(self, queue_name, count, 0, visibility_timeout, message_attribute_names)
            left_s = deadline_s - time.monotonic()
            if messages or left_s <= 0:
                return messages
            if queue.messages:  # visible, but not for us now (FIFO groups): do not spin
                time.sleep(_PAUSE_S)
            queue.wait_for_messages(min(left_s, _LOOK_S))
        return []

    return receive_message


def _delete_locked(original: Any) -> Any:
    def delete_message(self: Any, receipt_handle: str) -> None:
        with self._messages_lock:
            original(self, receipt_handle)

    return delete_message


def _change_locked(original: Any) -> Any:
    def change_message_visibility(
        self: Any, queue_name: str, receipt_handle: str, visibility_timeout: int
    ) -> None:
        with self.get_queue(queue_name)._messages_lock:  # noqa: SLF001
            original(self, queue_name, receipt_handle, visibility_timeout)

    return change_message_visibility
