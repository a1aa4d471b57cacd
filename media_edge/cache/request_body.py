"""A request's body with an end in sight: one deadline for all of it, and a bound on what is read in vain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from livedub.errors import LivedubError

Receive = Callable[[], Awaitable[Mapping[str, Any]]]


class ClientGoneError(LivedubError):
    """The client went away before its body was whole; nobody waits for an answer."""


class RequestBody:
    """Pieces of a body until `deadline_s` on the loop's clock."""

    def __init__(self, receive: Receive, deadline_s: float) -> None:
        self._receive = receive
        self._deadline_s = deadline_s
        self.ended = False

    def before_deadline(self) -> asyncio.Timeout:
        """A context in which the body is read; it ends with TimeoutError at the deadline."""
        return asyncio.timeout_at(self._deadline_s)

    async def piece(self) -> bytes:
        """The next bytes; `ended` says when they are the last.

        Raises:
            ClientGoneError: the connection ended first.
        """
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError("The client is gone.")
        self.ended = not message.get("more_body", False)
        return message.get("body", b"")

    async def drain(self, most_bytes: int) -> bool:
        """Read and forget the rest; whether it was read to its end.

        An answer sent while the client still sends would meet a closed connection on its way through the proxy and
        reach the client as 502.

        Raises:
            ClientGoneError: the connection ended first.
        """
        read = 0
        try:
            async with self.before_deadline():
                while not self.ended and read <= most_bytes:
                    read += len(await self.piece())
        except TimeoutError:
            return False
        return self.ended
