"""Waiting, within a bound, for what nothing announces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

BOUND_S = 20.0


async def eventually(condition: Callable[[], object]) -> None:
    """Return as soon as `condition` is true.

    Raises:
        TimeoutError: it was not within BOUND_S.
    """
    async with asyncio.timeout(BOUND_S):
        while not condition():  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.01)
