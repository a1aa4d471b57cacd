"""Keeps an ingest session open: connects, notices the end, tries again with back-off."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from livedub.timeline.clock import NS_PER_MS, NS_PER_S
from media_edge.worker.units import Arrival

logger = logging.getLogger(__name__)

_FIRST_BACKOFF_NS = 300 * NS_PER_MS
_MAX_BACKOFF_NS = 1_000 * NS_PER_MS


class IngestSession(Protocol):
    """One connection to the source, from connect to its end."""

    def poll(self) -> list[Arrival]:
        """What arrived since the last call."""
        ...

    @property
    def ended(self) -> str | None:
        """Why the session is over; None while it runs."""
        ...

    def close(self) -> None:
        """Disconnect without waiting."""
        ...


class IngestKeeper:
    """Polls the current session and replaces it when it ends.

    The publisher's absence is normal: it is told once, and the attempts go on until the caller gives up.
    """

    def __init__(
        self,
        connect: Callable[[Callable[[str], None]], IngestSession],
        *,
        name: str,
        started_ns: int,
        on_failure: Callable[[], None],
    ) -> None:
        self._connect = connect
        self._name = name
        self._on_failure = on_failure
        self._told_problems: set[str] = set()
        self._session: IngestSession | None = None
        self._backoff_ns = _FIRST_BACKOFF_NS
        self._retry_at_ns = 0
        self._last_arrival_ns = started_ns
        self._delivering = False
        self._told_absent = False
        self._stopped = False
        self.sessions = 0
        """Sessions that delivered media; it changes with the first arrivals of a new one."""

    @property
    def ever_received(self) -> bool:
        """Whether any session delivered media."""
        return self.sessions > 0

    def absent_for_ns(self, now_ns: int) -> int:
        """How long no media has arrived."""
        return max(0, now_ns - self._last_arrival_ns)

    def tick(self, now_ns: int) -> list[Arrival]:
        """What arrived; connects anew where needed."""
        if self._stopped:
            return []
        if self._session is None:
            if now_ns >= self._retry_at_ns:
                self._session = self._connect(self._tell_problem)
            return []
        arrivals = self._session.poll()
        if arrivals:
            self._received(now_ns)
        ended = self._session.ended
        if ended is not None:
            self._end_session(ended, now_ns)
        return arrivals

    def stop(self) -> None:
        """Disconnect and stay so."""
        self._stopped = True
        self._delivering = False
        if self._session is not None:
            self._session.close()
            self._session = None

    def _received(self, now_ns: int) -> None:
        absent_ns, self._last_arrival_ns = now_ns - self._last_arrival_ns, now_ns
        if self._delivering:
            return
        self._delivering = True
        self._told_absent = False
        self._backoff_ns = _FIRST_BACKOFF_NS
        self.sessions += 1
        if self.sessions == 1:
            logger.info("Input %s is being received.", self._name)
        else:
            logger.info("Input %s is back after %.1f s.", self._name, absent_ns / NS_PER_S)

    def _tell_problem(self, sentence: str) -> None:
        # A publisher that keeps trying with the wrong codec would fill the log.
        if sentence not in self._told_problems:
            self._told_problems.add(sentence)
            logger.warning("%s", sentence)

    def _end_session(self, reason: str, now_ns: int) -> None:
        if self._delivering:
            self._on_failure()
            logger.warning("Input %s ended (%s); waiting for the publisher to return.", self._name, reason)
        elif not self._told_absent:
            logger.info("Input %s is not there yet (%s); asking again until it is.", self._name, reason)
        self._told_absent = True
        self._delivering = False
        if self._session is not None:
            self._session.close()
            self._session = None
        self._retry_at_ns = now_ns + self._backoff_ns
        self._backoff_ns = min(2 * self._backoff_ns, _MAX_BACKOFF_NS)
