"""One event of CloudWatch Logs, and batches of them as PutLogEvents takes them.

Limits: https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_BATCH_BYTES = 1_048_576
"""Of all messages in UTF-8, with `EVENT_OVERHEAD_BYTES` for each."""
EVENT_OVERHEAD_BYTES = 26
MAX_BATCH_EVENTS = 10_000
MAX_SPAN_MS = 24 * 3_600_000
"""Between the first and the last event of a batch."""
MAX_MESSAGE_BYTES = 262_144 - EVENT_OVERHEAD_BYTES
"""An event may have 1 MB, in some partitions of AWS 256 KB still; what a host writes in one line is far below both."""


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One line: milliseconds since 1970 and a text that is not empty.

    Attributes:
        timestamp_ms: when it was written.
        message: what is stored; longer ones are cut at `MAX_MESSAGE_BYTES`.
        size_bytes: what it counts for in a batch.
    """

    timestamp_ms: int
    message: str
    size_bytes: int

    @classmethod
    def of(cls, timestamp_ms: int, message: str) -> LogEvent:
        """An event that AWS takes, whatever `message` is."""
        # Half of a surrogate pair, which JSON can name, has no UTF-8.
        encoded = message.encode("utf-8", "replace")[:MAX_MESSAGE_BYTES] or b" "
        # A character that was cut through goes.
        text = encoded.decode("utf-8", "ignore")
        return cls(timestamp_ms, text, len(text.encode()) + EVENT_OVERHEAD_BYTES)


class Batch:
    """Events that go together in one call."""

    def __init__(self) -> None:
        self._events: list[LogEvent] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._events)

    def takes(self, event: LogEvent) -> bool:
        """Whether `event` may go with those that are here already."""
        if not self._events:
            return True
        first = min(self._first_ms, event.timestamp_ms)
        last = max(self._last_ms, event.timestamp_ms)
        return (
            len(self._events) < MAX_BATCH_EVENTS
            and self._bytes + event.size_bytes <= MAX_BATCH_BYTES
            and last - first <= MAX_SPAN_MS
        )

    def add(self, event: LogEvent) -> None:
        """Take it; only after `takes` said so."""
        if self._events:
            self._first_ms = min(self._first_ms, event.timestamp_ms)
            self._last_ms = max(self._last_ms, event.timestamp_ms)
        else:
            self._first_ms = self._last_ms = event.timestamp_ms
        self._events.append(event)
        self._bytes += event.size_bytes

    def take(self) -> list[LogEvent]:
        """All of them, oldest first as AWS demands it, and none are left: a clock that is set back is no reason to lose them."""
        events = sorted(self._events, key=lambda event: event.timestamp_ms)
        self._events, self._bytes = [], 0
        return events
