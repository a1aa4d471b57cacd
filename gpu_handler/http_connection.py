"""HTTP/1.1 connections that nobody can hold open for nothing.

uvicorn puts a bound on idle kept-alive connections alone. One that sends its head byte by byte, goes on with a body
that nobody wants, or never reads its answer would stay for ever; enough of them, and `limit_concurrency` shuts
everybody else out. How long a body may take is the service's own business (`BodyLimits`).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

logger = logging.getLogger(__name__)


class BoundedConnection(H11Protocol):
    """uvicorn's connection (`Config(http=BoundedConnection)`) with a bound on slow heads and on answers left unread."""

    head_timeout_s = 10.0
    """From the connection, or from the first byte of another request on it, to the end of the request's head."""
    unread_timeout_s = 20.0
    """How long an answer may wait in this process for its caller to read on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock for the first head."""
        super().connection_made(cast("asyncio.Transport", transport))
        self._watch_head(expected=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._watch_head(expected=False)
        self._watch_reader(waiting=False)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; the clock runs while they do not make up a head."""
        super().data_received(data)
        self._watch_head(expected=self._between_requests_with_bytes)

    def on_response_complete(self) -> None:
        """Go on to the next request, whose head may already have begun."""
        super().on_response_complete()
        self._watch_head(expected=self._between_requests_with_bytes)

    def pause_writing(self) -> None:
        """The caller does not keep up with its answer."""
        super().pause_writing()
        self._watch_reader(waiting=True)

    def resume_writing(self) -> None:
        """The caller has read on."""
        self._watch_reader(waiting=False)
        super().resume_writing()

    @property
    def _between_requests_with_bytes(self) -> bool:
        """Whether bytes came that belong to no request under way: part of a head, or of a body already answered."""
        if self.cycle is not None and not self.cycle.response_complete:
            return False
        return bool(self.conn.trailing_data[0]) or self.conn.their_state is h11.SEND_BODY

    def _watch_head(self, *, expected: bool) -> None:
        if not expected or self.transport.is_closing():
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(
                self.head_timeout_s, self._drop, "its request did not come"
            )

    def _watch_reader(self, *, waiting: bool) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None
        if waiting:
            self._unread_timer = self.loop.call_later(
                self.unread_timeout_s, self._drop, "its answer was not read"
            )

    def _drop(self, reason: str) -> None:
        logger.info("connection dropped: %s in time", reason)
        self.transport.abort()
