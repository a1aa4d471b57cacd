"""A service whose address or key may change while requests are under way: each ends where it was begun."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from livedub.sts.breaker import BreakerState
from livedub.sts.client import GuardedSpeechToSpeech
from livedub.sts.contract import Health, StsRequest, StsResult
from livedub.sts.partials import OnPartial


@dataclass(slots=True, eq=False)
class _Serving:
    sts: GuardedSpeechToSpeech
    under_way: int = 0
    retired: bool = False
    idle: asyncio.Event = field(default_factory=asyncio.Event)


class ReplaceableSts:
    """A `GuardedSpeechToSpeech` that hands everything to the one it was given last. Used from one asyncio loop."""

    def __init__(self, sts: GuardedSpeechToSpeech) -> None:
        self._serving = _Serving(sts)
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def breaker_state(self) -> BreakerState:
        """For metrics: of the service that new requests go to."""
        return self._serving.sts.breaker_state

    def replace(self, sts: GuardedSpeechToSpeech) -> None:
        """New requests go to `sts`; the one before is closed when its last request has ended."""
        before, self._serving = self._serving, _Serving(sts)
        before.retired = True
        if not before.under_way:
            before.idle.set()
        task = asyncio.create_task(_close(before), name="close the STS client before")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def process(self, request: StsRequest, on_partial: OnPartial | None = None) -> StsResult:
        """As `SpeechToSpeech.process`."""
        serving = self._serving
        serving.under_way += 1
        try:
            return await serving.sts.process(request, on_partial)
        finally:
            serving.under_way -= 1
            if serving.retired and not serving.under_way:
                serving.idle.set()

    async def health(self) -> Health:
        """As `SpeechToSpeech.health`."""
        return await self._serving.sts.health()

    async def warm_up(self, *, timeout_ms: int) -> None:
        """As `SpeechToSpeech.warm_up`."""
        await self._serving.sts.warm_up(timeout_ms=timeout_ms)

    async def aclose(self) -> None:
        """Close every connection, those of services before too; safe to call twice."""
        closing = list(self._closing)
        for task in closing:
            task.cancel()
        await asyncio.gather(*closing, return_exceptions=True)
        await self._serving.sts.aclose()


async def _close(before: _Serving) -> None:
    try:
        await before.idle.wait()
    finally:
        # Also when nobody waits any more for what is under way.
        await before.sts.aclose()
