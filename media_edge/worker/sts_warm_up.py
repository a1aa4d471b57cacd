"""Wakes the speech-to-speech service up when a stream begins, beside the stream's work."""

from __future__ import annotations

import asyncio
import logging

from livedub.sts.client import SpeechToSpeech
from livedub.sts.errors import StsFailure

logger = logging.getLogger(__name__)


class StsWarmUp:
    """A sleeping GPU worker takes seconds to load; the first fragments must not wait for that.

    Nothing depends on it: a service that does not wake up is told in the log, and its fragments fail one by one.
    """

    def __init__(self, sts: SpeechToSpeech, timeout_ms: int) -> None:
        self._sts = sts
        self._timeout_ms = timeout_ms
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, once; a timeout of 0 ms does nothing."""
        if self._task is None and self._timeout_ms:
            self._task = asyncio.create_task(self._run(), name="sts warm-up")

    async def aclose(self) -> None:
        """Stop where it is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            await self._sts.warm_up(timeout_ms=self._timeout_ms)
        except StsFailure as failure:
            logger.warning("The speech-to-speech service is not warm: %s", failure)
        else:
            logger.info("The speech-to-speech service is warm.")
