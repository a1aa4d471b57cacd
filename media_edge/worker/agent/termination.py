"""Notices that announce this host's end: a spot interruption, or an auto-scaling group that takes it out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from livedub.supervision.store_errors import StoreUnavailableError
from media_edge.worker.agent.ports import Calls

logger = logging.getLogger(__name__)

_LEAVING = frozenset({"Terminated", "Detached", "Standby"})


class HostNotices(Protocol):
    """Where notices appear."""

    def instance_action(self) -> str:
        """The spot interruption that is due; empty for none."""
        ...

    def target_lifecycle_state(self) -> str:
        """Where the auto-scaling group is taking this host; empty outside of one."""
        ...


async def await_notice(
    notices: HostNotices,
    calls: Calls,
    *,
    period_s: float,
    timeout_s: float,
    on_notice: Callable[[str], None],
) -> None:
    """Look every `period_s`; call `on_notice` once, with the reason, and return."""
    answered = True
    while True:
        try:
            action = await calls("Asking for a termination notice", notices.instance_action, timeout_s)
            state = await calls("Asking for the lifecycle state", notices.target_lifecycle_state, timeout_s)
        except StoreUnavailableError as error:
            if answered:
                logger.warning("No metadata, so no notice would be seen: %s", error)
            answered = False
        else:
            answered = True
            if action:
                on_notice(f"EC2 announces: {action[:200]}")
                return
            if state in _LEAVING:
                on_notice(f"the auto-scaling group takes this host to {state}")
                return
        await asyncio.sleep(period_s)
