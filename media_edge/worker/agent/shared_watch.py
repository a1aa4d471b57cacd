"""Watches the settings that hosts share, so that running workers get what changes: a bundle, a token, an address."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType

from livedub.errors import LivedubError
from media_edge.worker.agent.ports import Calls

logger = logging.getLogger(__name__)


class SharedWatch:
    """What was read last, and whoever is to hear of changes.

    Args:
        read: the variables as they stand; None where no host shares anything.
        calls: runs it beside the loop.
        timeout_s: bound of one reading.
    """

    def __init__(
        self, read: Callable[[], Mapping[str, str]] | None, calls: Calls, *, timeout_s: float
    ) -> None:
        self._read = read
        self._calls = calls
        self._timeout_s = timeout_s
        self._told_failure = False
        self.on_change: Callable[[Mapping[str, str]], None] = _to_nobody
        self.current: Mapping[str, str] = MappingProxyType({})

    async def refresh(self) -> bool:
        """Read once and tell what has changed; False where nothing could be read, and what was known stays."""
        if self._read is None:
            return True
        try:
            found = await self._calls("Reading shared settings", self._read, self._timeout_s)
        except LivedubError as error:
            if not self._told_failure:
                logger.warning("The shared settings cannot be read: %s", error)
            self._told_failure = True
            return False
        except Exception:
            logger.exception("Reading the shared settings failed.")
            return False
        self._told_failure = False
        if dict(found) != dict(self.current):
            names = {*found, *self.current}
            changed = sorted(name for name in names if found.get(name) != self.current.get(name))
            # Names alone: values are tokens and keys.
            logger.info("Shared settings: %s.", ", ".join(changed))
            self.current = MappingProxyType(dict(found))
            self.on_change(self.current)
        return True

    async def run(self, period_s: float) -> None:
        """Until cancelled; at once where nothing is shared."""
        while self._read is not None:
            await asyncio.sleep(period_s)
            await self.refresh()


def _to_nobody(_settings: Mapping[str, str]) -> None:
    """Where nobody listens yet."""
