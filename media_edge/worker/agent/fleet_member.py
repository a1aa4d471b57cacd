"""A host's part in its auto-scaling group: protected while it has streams, waited for while it drains, counted always."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from livedub.supervision.store_errors import StoreUnavailableError
from media_edge.worker.agent.load_client import HostLoad
from media_edge.worker.agent.ports import Calls, GroupRefusedError

logger = logging.getLogger(__name__)

_ATTEMPTS, _PAUSE_S = 8, 2.0


class Group(Protocol):
    """The auto-scaling group; `ScalingGroup` is one."""

    def protect(self, *, protected: bool) -> None:
        """See ScalingGroup."""
        ...

    def beat(self, hook: str) -> None:
        """See ScalingGroup."""
        ...

    def complete(self, hook: str) -> None:
        """See ScalingGroup."""
        ...


@dataclass(frozen=True, slots=True)
class FleetHooks:
    """Lifecycle hooks of the group; empty where there is none.

    Attributes:
        launch: waits until this host takes streams.
        end: waits until this host is drained.
    """

    launch: str = ""
    end: str = ""


@dataclass(frozen=True, slots=True)
class FleetPace:
    """How often what is done, in seconds.

    Attributes:
        look: between two looks at how many streams there are.
        retry: after a call that failed.
        beat: between two heartbeats of the hook that waits for the drain; well below the hook's time.
        report: between two reports of the load.
        call: bound of one call.
    """

    look_s: float = 1.0
    retry_s: float = 5.0
    beat_s: float = 60.0
    report_s: float = 60.0
    call_s: float = 3.0


class FleetMember:
    """Tells the group what it needs to know. Nothing here ever stops a stream: what fails is tried again, and logged once.

    Args:
        group: None where the host is in none: only the load is reported then.
        report: takes the load; None where nobody wants it.
        load: how busy the host is now.
    """

    def __init__(
        self,
        group: Group | None,
        report: Callable[[HostLoad], None] | None,
        load: Callable[[], HostLoad],
        calls: Calls,
        *,
        hooks: FleetHooks,
        pace: FleetPace,
    ) -> None:
        self._group = group
        self._report = report
        self._load = load
        self._calls = calls
        self._hooks = hooks
        self._pace = pace
        self._failing: set[str] = set()
        self._told_protected: bool | None = None

    async def run(self) -> None:
        """Until cancelled."""
        jobs = [self._keep_protection(), self._keep_waiting()] if self._group is not None else []
        if self._report is not None:
            jobs.append(self._keep_reporting(self._report))
        await asyncio.gather(*jobs)

    async def in_service(self) -> None:
        """This host takes streams: the group may count it."""
        if self._group is not None and self._hooks.launch:
            # Unheard, the host would be ended with its streams when the hook's time is over.
            await self._insist("Completing the launch", partial(self._group.complete, self._hooks.launch))

    async def drained(self) -> None:
        """This host has let go of everything: the group may end it."""
        group, hook = self._group, self._hooks.end
        if group is None:
            return
        if hook and await self._insist("Completing the end", partial(group.complete, hook)):
            return
        # Not the group's doing: the agent was stopped, and the host stays.
        if self._told_protected:
            await self._call("Ending the protection", partial(group.protect, protected=False))

    async def _keep_protection(self) -> None:
        """Each change, at once; a new agent says what it has, for the one before may have left another."""
        group = self._group
        assert group is not None  # noqa: S101 - run asks for a group
        while True:
            busy = self._load().used > 0
            if busy == self._told_protected:
                await asyncio.sleep(self._pace.look_s)
            elif await self._call("Protecting this host", partial(group.protect, protected=busy)):
                self._told_protected = busy
            else:
                await asyncio.sleep(self._pace.retry_s)

    async def _keep_waiting(self) -> None:
        group, hook = self._group, self._hooks.end
        assert group is not None  # noqa: S101 - run asks for a group
        while hook:
            if self._load().draining:
                await self._call("Asking for time to drain", partial(group.beat, hook))
                await asyncio.sleep(self._pace.beat_s)
            else:
                await asyncio.sleep(self._pace.look_s)

    async def _keep_reporting(self, report: Callable[[HostLoad], None]) -> None:
        while True:
            await self._call("Reporting the load", partial(report, self._load()))
            await asyncio.sleep(self._pace.report_s)

    async def _insist(self, doing: str, call: Callable[[], None]) -> bool:
        """Again until it is heard, within bounds.

        False where it is not, or where nothing waits for it, as when the agent alone was restarted or stopped.
        """
        for _ in range(_ATTEMPTS):
            try:
                await self._calls(doing, call, self._pace.call_s)
            except GroupRefusedError:  # noqa: PERF203 - each try is a call
                logger.info("%s: nothing waits for it.", doing)
                return False
            except StoreUnavailableError as error:
                logger.warning("%s failed: %s", doing, error)
                await asyncio.sleep(_PAUSE_S)
            else:
                return True
        return False

    async def _call(self, doing: str, call: Callable[[], None]) -> bool:
        try:
            await self._calls(doing, call, self._pace.call_s)
        except StoreUnavailableError as error:
            if doing not in self._failing:
                logger.warning("%s failed, and is tried again where it matters: %s", doing, error)
            self._failing.add(doing)
            return False
        except Exception:
            logger.exception("%s failed.", doing)
            return False
        self._failing.discard(doing)
        return True
