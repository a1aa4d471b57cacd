"""Progress for whoever started the worker: JSON lines on a stream, written by a thread of their own."""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TextIO

logger = logging.getLogger(__name__)

_MAX_QUEUED = 1_000


class ProgressWriter:
    """Writes one JSON object a line; a reader that is slow or gone costs lines, never the stream's time."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(_MAX_QUEUED)
        self._thread = threading.Thread(target=self._write_all, name="progress", daemon=True)
        self._thread.start()
        self.dropped = 0

    def write(self, event: Mapping[str, Any]) -> None:
        """Queue one event."""
        try:
            self._lines.put_nowait(json.dumps(event, ensure_ascii=False, separators=(",", ":"), default=str))
        except queue.Full:
            self.dropped += 1
            if self.dropped == 1:
                logger.warning("Nobody reads the worker's progress; lines are dropped.")

    def close(self, timeout_s: float = 1.0) -> None:
        """Write what is queued, within `timeout_s`."""
        try:
            self._lines.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def _write_all(self) -> None:
        # A reader that is gone ends the writing, not the worker.
        with suppress(OSError, ValueError):
            while (line := self._lines.get()) is not None:
                self._stream.write(line + "\n")
                self._stream.flush()
