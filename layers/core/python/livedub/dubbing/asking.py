"""Asks STS: a bounded number of fragments at a time, each once for all its languages."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from livedub.audio.pcm import Samples, to_mono
from livedub.dubbing.cached_speech import CachedSpeech, FragmentLines
from livedub.dubbing.exchange import build_request, read_dub, read_result
from livedub.dubbing.fragment import DubbingFragment, Outcome
from livedub.dubbing.ports import SessionClock, SpeechToSpeech
from livedub.sts.contract import Dub, PartialKind, StsPartial, StsRequest, StsResult
from livedub.sts.errors import StsFailure
from livedub.timeline.clock import NS_PER_MS, NS_PER_S

logger = logging.getLogger(__name__)

Answered = Callable[[str, Outcome], None]
"""Told a track and what STS made of the fragment in its language."""


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
        call = _Call(fragment, answered, self._clock, self._cached)
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

    async def _process(self, request: StsRequest, call: _Call) -> None:
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
        self, request: StsRequest, call: _Call, cached: CachedSpeech
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


class _Call:
    """One fragment on its way: which of its tracks have their answer."""

    def __init__(
        self,
        fragment: DubbingFragment,
        answered: Answered,
        clock: SessionClock,
        cached: CachedSpeech | None,
    ) -> None:
        self._fragment = fragment
        self._answered = answered
        self._clock = clock
        self._cached = cached
        self._open = {dub.target.language: track for track, dub in fragment.dubs.items()}
        self._lines: FragmentLines | None = None
        self._all_found: asyncio.Future[None] | None = None

    def expect_lines(self, request: StsRequest, cached: CachedSpeech) -> asyncio.Future[None]:
        """Look in the cache for what STS is about to say; done when nothing of the answer is needed any more."""
        self._lines = FragmentLines(cached, self._fragment, request, self._take_found)
        self._all_found = asyncio.get_running_loop().create_future()
        return self._all_found

    async def hear(self, part: StsPartial) -> None:
        """Take a part of the answer: texts for subtitles and the cache, a language's dub for the air."""
        self._learn(part)
        for dub in part.dubs:
            track = self._open.get(dub.language)
            if track is None:
                continue
            self._fragment.dubs[track].text = dub.translated_text
            if part.kind is PartialKind.AUDIO and dub.audio is not None:
                self._take_dub(dub)
        if part.kind is PartialKind.TEXT and self._lines is not None:
            await self._lines.look_up(part, self._open)

    async def take_result(self, result: StsResult) -> None:
        """Take the whole answer, for the tracks that have none yet."""
        self._learn(result)
        for dub in result.dubs:
            if dub.language in self._open:
                self._take_dub(dub)
        await self._wait_for_found()
        for language in list(self._open):
            self._answer(language, partial(read_result, self._fragment, language, result))

    async def take_failure(self, failure: StsFailure) -> None:
        """There will be no answer: what the cache gave may still air."""
        await self._wait_for_found()
        if self._open:
            logger.warning("fragment %d has no dub: %s", self._fragment.sequence_number, failure)
        self.answer_rest(failure.reason)

    def answer_rest(self, reason: str) -> None:
        """The tracks that have no answer yet get none."""
        for language in list(self._open):
            self._answer(language, partial(Outcome, reason=reason))

    def close(self) -> None:
        """Nothing more is expected."""
        if self._lines is not None:
            self._lines.close()

    def _learn(self, told: StsPartial | StsResult) -> None:
        fragment = self._fragment
        fragment.transcript = told.transcript or fragment.transcript
        fragment.stage_timings = told.stage_timings
        fragment.models = told.models or fragment.models

    def _take_dub(self, dub: Dub) -> None:
        self._answer(dub.language, partial(read_dub, self._fragment, dub))
        if self._lines is not None:
            self._lines.keep(dub)

    def _take_found(self, language: str, outcome: Outcome) -> None:
        if language not in self._open:
            return  # STS was quicker
        self._answer(language, lambda: outcome)
        if not self._open and self._all_found is not None and not self._all_found.done():
            self._all_found.set_result(None)

    async def _wait_for_found(self) -> None:
        """What the cache gave is being fitted: it is the dub of a language that STS has none for."""
        if self._open and self._lines is not None:
            left_ns = self._fragment.deadline_ns - self._clock.now_media_ns()
            await self._lines.fitted(left_ns / NS_PER_S)

    def _answer(self, language: str, read: Callable[[], Outcome]) -> None:
        track = self._open.pop(language)
        try:
            outcome = read()
        except Exception:
            # One language's trouble must not cost the others their dubs.
            logger.exception("fragment %d cannot be read in %s", self._fragment.sequence_number, language)
            outcome = Outcome(reason="internal_error")
        if outcome.text is not None:
            self._fragment.dubs[track].text = outcome.text
        if outcome.airable:
            outcome.ready_ns = self._clock.now_media_ns()
            if self._cached is not None and outcome.tempo is not None:
                self._cached.learn(self._fragment, language, outcome.tempo)
        self._answered(track, outcome)
