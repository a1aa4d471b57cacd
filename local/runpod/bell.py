"""Waiting for the next change of something, without polling."""

from __future__ import annotations

import asyncio


class Bell:
    """Whoever waits is woken by the next ring; a ring that nobody waits for is lost."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        """Wake everybody who waits now."""
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._waiting.clear()

    def waiter(self) -> asyncio.Future[None]:
        """A future that the next ring resolves; cancel it where it is not awaited to its end."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        waiter.add_done_callback(self._waiting.discard)
        return waiter
