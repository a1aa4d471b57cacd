"""Whether the client of the request that this thread answers is still there.

Somebody who polls and dies must not be handed anything: the message would be nobody's until its visibility timeout.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

_current = threading.local()


@contextmanager
def answering(environ: Mapping[str, Any]) -> Iterator[None]:
    """Remember the connection of the request that this thread now answers."""
    _current.socket = environ.get("werkzeug.socket")
    try:
        yield
    finally:
        _current.socket = None


def client_waits() -> bool:
    """False once the client closed its connection; True where there is none to ask."""
    connection: socket.socket | None = getattr(_current, "socket", None)
    if connection is None:
        return True
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True  # it is there and says nothing, as it should
    except OSError:
        return False
