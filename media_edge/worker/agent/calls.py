"""Blocking calls in threads of their own, each with a bound: an AWS endpoint that hangs holds nothing up."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from media_edge.worker.agent.ports import CallTimeoutError

T = TypeVar("T")

_MOST_AT_ONCE = 256


class DetachedCalls:
    """One daemon thread a call. A thread pool would fill up with calls that hang, and wait for them at the end."""

    def __init__(self, most_at_once: int = _MOST_AT_ONCE) -> None:
        self._most_at_once = most_at_once
        self.under_way = 0

    async def __call__(self, doing: str, call: Callable[[], T], timeout_s: float) -> T:
        """See Calls."""
        if self.under_way >= self._most_at_once:
            raise CallTimeoutError(f"{doing}: {self.under_way} calls are under way already.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        context = contextvars.copy_context()
        self.under_way += 1
        thread = threading.Thread(
            target=context.run, args=(self._run, loop, future, call), name=f"call {doing}", daemon=True
        )
        thread.start()
        try:
            return await asyncio.wait_for(future, timeout_s)
        except asyncio.TimeoutError:
            raise CallTimeoutError(f"{doing} took longer than {timeout_s:g} s.") from None

    def _run(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[T], call: Callable[[], T]) -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
            settle = partial(future.set_exception, error)
        else:
            settle = partial(future.set_result, result)
        # A closed loop: nobody waits any more.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._settle, future, settle)

    def _settle(self, future: asyncio.Future[Any], settle: Callable[[], None]) -> None:
        self.under_way -= 1
        if not future.done():
            settle()
