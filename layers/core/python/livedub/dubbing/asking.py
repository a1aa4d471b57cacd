"""Asks STS: a bounded number of fragments at a time, each once for all its languages."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from livedub.audio.pcm import Samples, to_mono
from livedub.dubbing.cached_speech import CachedSpeech
from livedub.dubbing.exchange import build_request
from livedub.dubbing.fragment import DubbingFragment
from livedub.dubbing.fragment_call import Answered, FragmentCall
from livedub.dubbing.ports import SessionClock, SpeechToSpeech
from livedub.sts.contract import StsRequest, StsResult
from livedub.sts.errors import StsFailure
from livedub.timeline.clock import NS_PER_MS

logger = logging.getLogger(__name__)


class StsExchange:
    """Shared by all tracks: one request per fragment, one answer per language, each handed out as soon as it is there."""

    def __init__(
        self,
        sts: SpeechToSpeech,
        clock: SessionClock,
        in_flight_limit: int,
        cached: CachedSpeech | None = None,
    ) -> None:
        self._sts = sts
        self._clock = clock
        self._cached = cached
        self._slots = asyncio.Semaphore(in_flight_limit)
        self._in_flight = 0
        self._context = ""

    @property
    def in_flight(self) -> int:
        """Fragments that STS is working on now."""
        return self._in_flight

    def forget_context(self) -> None:
        """What was said before no longer helps: the programme's language changed."""
        self._context = ""

    async def ask(
        self, fragment: DubbingFragment, read_audio: Callable[[], Samples], answered: Answered
    ) -> None:
        """Have `fragment` dubbed; `read_audio` gives its programme audio. Every track is answered exactly once.

        What goes wrong costs dubs, by a reason in their outcomes; nothing raises but cancelling.
        """
        call = FragmentCall(fragment, answered, self._clock, self._cached)
        try:
            await asyncio.wait_for(self._slots.acquire(), self._remaining_ms(fragment) / 1_000)
        except asyncio.TimeoutError:
            call.answer_rest("in_flight_full")
            return
        self._in_flight += 1
        try:
            fragment.sent_ns = self._clock.now_media_ns()
            request = build_request(
                fragment,
                to_mono(read_audio()),
                deadline_ms=self._remaining_ms(fragment),
                context=self._context,
                wanted_speech=self._cached.wanted() if self._cached is not None else (),
            )
            await self._process(request, call)
        except Exception:
            logger.exception("fragment %d failed inside the session", fragment.sequence_number)
            call.answer_rest("internal_error")
        finally:
            call.close()
            self._in_flight -= 1
            self._slots.release()
        if fragment.transcript is not None:
            self._context = fragment.transcript.text

    async def _process(self, request: StsRequest, call: FragmentCall) -> None:
        try:
            if self._cached is not None:
                result = await self._process_until_found(request, call, self._cached)
            elif len(request.config.targets) == 1:
                # Nothing to gain: the one dub and the whole answer come at the same time.
                result = await self._sts.process(request)
            else:
                result = await self._sts.process(request, call.hear)
        except StsFailure as failure:
            await call.take_failure(failure)
        else:
            if result is not None:
                await call.take_result(result)

    async def _process_until_found(
        self, request: StsRequest, call: FragmentCall, cached: CachedSpeech
    ) -> StsResult | None:
        """The whole answer; None where the cache had what it still lacked, and STS was told to stop."""
        found = call.expect_lines(request, cached)
        asking = asyncio.create_task(self._sts.process(request, call.hear), name=f"sts {request.fragment_id}")
        try:
            await asyncio.wait({asking, found}, return_when=asyncio.FIRST_COMPLETED)
            return asking.result() if asking.done() else None
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    def _remaining_ms(self, fragment: DubbingFragment) -> int:
        remaining_ns = fragment.deadline_ns - self._clock.now_media_ns()
        return min(120_000, max(1, remaining_ns // NS_PER_MS))
