"""Commands of whoever started the worker: JSON lines on stdin, read by a thread of their own."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

logger = logging.getLogger(__name__)

MAX_LINE_BYTES = 1024 * 1024
_READ_BYTES = 64 * 1024

Obey = Callable[[Mapping[str, Any]], None]


class ObjectReader:
    """Reads JSON objects, one a line, from a file descriptor.

    Not through `sys.stdin`: a thread that waits in it holds a lock which the interpreter needs in order to end.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""
        self._overlong = False

    def next(self) -> dict[str, Any] | None:
        """The next object; None at the end. What is no object is logged, without its content, and left out."""
        while (line := self._next_line()) is not None:
            try:
                value = json.loads(line)
            except ValueError:
                value = None
            if isinstance(value, dict):
                return value
            logger.error("A line of %d bytes on stdin is no JSON object; it is left out.", len(line))
        return None

    def _next_line(self) -> bytes | None:
        while b"\n" not in self._rest:
            if len(self._rest) > MAX_LINE_BYTES:
                self._rest, self._overlong = b"", True
            data = os.read(self._descriptor, _READ_BYTES)
            if not data:
                return None
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        # The end of a line whose beginning was thrown away is not a line.
        overlong, self._overlong = self._overlong, False
        return b"" if overlong else line


class CommandInbox:
    """Hands each command to the worker's loop. The end of input means that the supervisor is gone.

    `on_gone` and `on_lease` are called in the reading thread, so they work also when the loop stands still.
    """

    def __init__(
        self,
        reader: ObjectReader,
        on_gone: Callable[[], None],
        *,
        on_lease: Callable[[float], None] | None = None,
    ) -> None:
        """`on_lease` is told, in seconds, for how long each `{"command": "lease", "valid_ms": ...}` lets us go on."""
        self._reader = reader
        self._on_gone = on_gone
        self._on_lease = on_lease
        self._lock = threading.Lock()
        self._deliver: Obey | None = None
        self._early: list[Mapping[str, Any]] = []

    def start(self) -> None:
        """Read from now on."""
        threading.Thread(target=self._read_all, name="commands", daemon=True).start()

    def deliver_to(self, obey: Obey, loop: asyncio.AbstractEventLoop) -> None:
        """Call `obey` in `loop` for every command, those included that came before."""
        with self._lock:
            self._deliver = lambda command: _post(loop, obey, command)
            for command in self._early:
                self._deliver(command)
            self._early.clear()

    def _read_all(self) -> None:
        while (command := self._reader.next()) is not None:
            if command.get("command") == "lease":
                self._grant(command.get("valid_ms"))
                continue
            with self._lock:
                if self._deliver is None:
                    self._early.append(command)
                else:
                    self._deliver(command)
        self._on_gone()

    def _grant(self, valid_ms: object) -> None:
        if not isinstance(valid_ms, int):
            logger.error("A lease on stdin does not say for how long; it is left out.")
        elif self._on_lease is not None:
            self._on_lease(valid_ms / 1_000)


def _post(loop: asyncio.AbstractEventLoop, obey: Obey, command: Mapping[str, Any]) -> None:
    try:
        loop.call_soon_threadsafe(obey, command)
    except RuntimeError:  # the loop has ended, and the worker with it
        logger.info("A command came after the end.")
