"""Asks an STS service again where a live stream would have to go on: a file can wait."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from livedub.dubbing.ports import SpeechToSpeech
from livedub.sts.contract import StsPartial, StsRequest, StsResult
from livedub.sts.errors import StsFailure

logger = logging.getLogger(__name__)

TRIES = 6
_FIRST_PAUSE_S = 0.5


class PatientSts:
    """A service that is asked up to `TRIES` times, with pauses that double: a quarter of a minute for one that restarts.

    Where that was not enough, it is asked once for each fragment until it has answered one.
    """

    def __init__(
        self, sts: SpeechToSpeech, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._sts = sts
        self._sleep = sleep
        self._tries = TRIES

    async def process(
        self, request: StsRequest, on_partial: Callable[[StsPartial], Awaitable[None]] | None = None
    ) -> StsResult:
        """As the service itself; what was heard in parts of a failed try stands, the same request has the same answer.

        Raises:
            StsFailure: every try failed, or a retry would not help.
        """
        for number in range(self._tries - 1):
            answer = await self._try(request, on_partial)
            if isinstance(answer, StsResult):
                return answer
            logger.warning("%s is asked for again: %s", request.fragment_id, answer)
            await self._sleep(_FIRST_PAUSE_S * 2**number)
        answer = await self._try(request, on_partial)
        if isinstance(answer, StsResult):
            return answer
        self._tries = 1
        raise answer

    async def _try(
        self, request: StsRequest, on_partial: Callable[[StsPartial], Awaitable[None]] | None
    ) -> StsResult | StsFailure:
        """The answer, or why there is none yet; what no retry heals is raised."""
        try:
            result = await self._sts.process(request, on_partial)
        except StsFailure as failure:
            if not failure.retryable:
                raise
            return failure
        self._tries = TRIES
        return result
