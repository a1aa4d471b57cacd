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
        Patch(
            "moto.core.serialize:AttributePicker.__call__",
            "c15da8ec29c1",
            "moto looks for six spellings of each of an attribute's ten types: most of the time of a read",
            _plain_items,
        ),
    ]


def _plain_items(original: Any) -> Any:
    def pick(self: Any, context: Any) -> Any:
        service = context.service_model
        if service is not None and service.service_name == "dynamodb" and type(context.obj) is dict:
            return context.obj.get(context.key)
        return original(self, context)

    return pick


def _one_at_a_time(original: Any) -> Any:
    lock = threading.RLock()

    def call_action(self: Any) -> Any:
        with lock:
            return original(self)

    return call_action
