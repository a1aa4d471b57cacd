"""boto3 clients that moto's state machines call services with: made once, not per call."""

from __future__ import annotations

import threading
from typing import Any

from local.aws.overlay.patching import Patch


def patches() -> list[Patch]:
    """The patch of the state machines' own clients."""
    return [
        Patch(
            "moto.stepfunctions.parser.asl.utils.boto_client:boto_client_for",
            "1f44dc2ac8aa",
            "moto makes a client per call from boto3's default session: 20 ms each, and not safe in threads",
            _cached,
            everywhere=True,
        ),
    ]


def _cached(original: Any) -> Any:
    lock = threading.Lock()
    clients: dict[tuple[str, str], Any] = {}

    def boto_client_for(region: str, service: str, state_credentials: Any = None) -> Any:
        with lock:
            client = clients.get((region, service))
            if client is None:
                client = clients[region, service] = original(region, service, state_credentials)
            return client

    return boto_client_for
