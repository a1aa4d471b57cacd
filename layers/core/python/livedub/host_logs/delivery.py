"""Bringing events to where they are kept, however long that takes."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from typing import Protocol

from livedub.errors import LivedubError
from livedub.host_logs.log_event import LogEvent

_LONGEST_PAUSE_S = 60.0
_DOUBLINGS = 6

log = logging.getLogger(__name__)


class LogsUnavailableError(LivedubError):
    """Not now: no network, throttled, no right yet. The same again may succeed."""


class EventsRefusedError(LivedubError):
    """Never: something about these events is not as AWS wants it."""


class LogSink(Protocol):
    """Where events go."""

    def put(self, events: Sequence[LogEvent]) -> None:
        """Have them stored, all or none.

        Raises:
            LogsUnavailableError: it can be tried again.
            EventsRefusedError: it cannot.
        """
        ...


def pause_s(failures: int, portion: float) -> float:
    """How long to wait after so many failures in a row: doubled each time, never above a minute.

    `portion`, from 0 to 1, spreads hosts that failed at the same moment over half of it.
    """
    longest = min(_LONGEST_PAUSE_S, 2.0 ** min(failures - 1, _DOUBLINGS))
    return longest * (1 + portion) / 2


class Delivery:
    """Tries until it is done or the process is to end."""

    def __init__(
        self,
        sink: LogSink,
        wait: Callable[[float], bool],
        *,
        portion: Callable[[], float] = random.random,
    ) -> None:
        """Deliver to `sink`; `wait` waits so many seconds and says whether the process is to end."""
        self._sink = sink
        self._wait = wait
        self._portion = portion

    def deliver(self, events: Sequence[LogEvent]) -> bool:
        """Whether they are delivered: not where the process is to end before they could be.

        An event that is refused alone is dropped, and said so: what comes after it must not wait for ever.
        """
        failures = 0
        while (error := self._attempt(events)) is not None:
            if isinstance(error, EventsRefusedError):
                return self._deliver_parts(events, error)
            failures += 1
            if failures == 1:
                log.warning("Logs cannot be delivered, and wait in the journal: %s", error)
            if self._wait(pause_s(failures, self._portion())):
                return False
        if failures:
            log.info("Logs are delivered again, after %d failures", failures)
        return True

    def _attempt(self, events: Sequence[LogEvent]) -> LogsUnavailableError | EventsRefusedError | None:
        try:
            self._sink.put(events)
        except (LogsUnavailableError, EventsRefusedError) as error:
            return error
        return None

    def _deliver_parts(self, events: Sequence[LogEvent], error: EventsRefusedError) -> bool:
        if len(events) == 1:
            log.warning("A line of %d bytes was refused and is left out: %s", events[0].size_bytes, error)
            return True
        middle = len(events) // 2
        return self.deliver(events[:middle]) and self.deliver(events[middle:])
