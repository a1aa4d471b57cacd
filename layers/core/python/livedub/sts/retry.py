"""Whether a failed attempt is worth a second one: at most one, inside the deadline, before any audio was delivered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from livedub.sts.contract import ErrorCode, StsResult
from livedub.sts.deadline import Deadline
from livedub.sts.errors import StsFailure, StsRefused, StsUnavailable
from livedub.sts.partials import PartialGate

RETRY_PAUSE_MS = 50
MIN_RETRY_MS = 200
"""With less time left than this a second attempt only costs the service work that nobody airs."""


def pause_before_retry_ms(failure: StsFailure, *, left_ms: int, audio_delivered: bool) -> int | None:
    """How long to wait before the one retry; None where there is to be none.

    After audio was delivered the caller may be airing it: a second attempt could only contradict it.
    """
    pause_ms = _pause_ms(failure)
    if pause_ms is None or audio_delivered or left_ms < pause_ms + MIN_RETRY_MS:
        return None
    return pause_ms


async def with_one_retry(
    attempt: Callable[[], Awaitable[StsResult]], deadline: Deadline, gate: PartialGate
) -> StsResult:
    """The result of `attempt`, or of a second one where the first failed in a way that may pass."""
    try:
        return await attempt()
    except StsFailure as failure:
        pause_ms = pause_before_retry_ms(
            failure, left_ms=deadline.left_ms(), audio_delivered=gate.audio_delivered
        )
        if pause_ms is None:
            raise
    await asyncio.sleep(pause_ms / 1_000)
    return await attempt()


def _pause_ms(failure: StsFailure) -> int | None:
    if isinstance(failure, StsUnavailable):
        return RETRY_PAUSE_MS
    if isinstance(failure, StsRefused) and failure.retryable and failure.code is not ErrorCode.TIMEOUT:
        return max(RETRY_PAUSE_MS, failure.retry_after_ms)
    return None
