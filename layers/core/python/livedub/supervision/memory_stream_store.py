"""Streams kept in memory: for tests and the simulation."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from livedub.supervision.record import StreamRecord
from livedub.supervision.stream_store_port import Rule


class MemoryStreamStore:
    """A StreamStore that lives as long as its process. Safe to share between threads."""

    def __init__(self) -> None:
        self._records: dict[str, StreamRecord] = {}
        self._lock = threading.Lock()

    def load(self, stream_id: str) -> StreamRecord | None:
        """The record."""
        with self._lock:
            return self._records.get(stream_id)

    def load_many(self, stream_ids: Sequence[str]) -> list[StreamRecord]:
        """The records that exist."""
        with self._lock:
            return [self._records[name] for name in dict.fromkeys(stream_ids) if name in self._records]

    def list_all(self) -> list[StreamRecord]:
        """Every record, by stream_id."""
        with self._lock:
            return [self._records[name] for name in sorted(self._records)]

    def update(self, stream_id: str, rule: Rule) -> StreamRecord | None:
        """Apply `rule` and keep the result."""
        with self._lock:
            current = self._records.get(stream_id)
            changed = rule(current)
            if changed is None or changed == current:
                return current
            version = current.row_version if current is not None else 0
            kept = replace(changed, row_version=version + 1)
            self._records[stream_id] = kept
            return kept
