"""DynamoDB: one request at a time, so that a conditional write and a read see whole items."""

from __future__ import annotations

import threading
from typing import Any

from local.aws.overlay.patching import Patch


def patches() -> list[Patch]:
    """The patch of DynamoDB."""
    return [
        Patch(
            "moto.dynamodb.responses:DynamoHandler.call_action",
            "ce5f57cf83cd",
            "moto checks a condition and writes in two steps, without a lock between threads",
            _one_at_a_time,
        ),
    ]


def _one_at_a_time(original: Any) -> Any:
    lock = threading.RLock()

    def call_action(self: Any) -> Any:
        with lock:
            return original(self)

    return call_action
