"""DynamoDB: one request at a time, so that a conditional write and a read see whole items; and items that expire."""

from __future__ import annotations

import threading
import time
from typing import Any

from moto.dynamodb.models import dynamodb_backends

from local.aws.http_event import ACCOUNT_ID
from local.aws.overlay.patching import Patch
from local.aws.runtime import Runtime

_SWEEP_S = 60.0
_lock = threading.RLock()
"""Held by whoever reads or changes items."""


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
    def call_action(self: Any) -> Any:
        with _lock:
            return original(self)

    return call_action


class Expiry:
    """Deletes items whose time to live is over, about once a minute: AWS promises no better than days."""

    def __init__(self, runtime: Runtime) -> None:
        self._background = runtime.background

    def start(self) -> None:
        """Sweep from now on."""
        self._background.later(_SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        try:
            now_s = time.time()
            for backend in list(dynamodb_backends[ACCOUNT_ID].values()):
                for table in list(backend.tables.values()):
                    if table.ttl.get("TimeToLiveStatus") == "ENABLED":
                        with _lock:
                            _delete_expired(table, table.ttl["AttributeName"], now_s)
        finally:
            self._background.later(_SWEEP_S, self._sweep)


def _delete_expired(table: Any, attribute: str, now_s: float) -> None:
    for item in list(table.all_items()):
        expiry = item.attrs.get(attribute)
        if expiry is not None and expiry.type == "N" and float(expiry.value) < now_s:
            table.delete_item(item.hash_key, item.range_key)
