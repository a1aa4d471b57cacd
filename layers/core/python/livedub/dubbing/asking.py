"""Asks STS: a bounded number of fragments at a time, each once for all its languages."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from livedub.audio.pcm import Samples, to_mono
from livedub.dubbing.exchange import build_request, read_dub, read_result
from livedub.dubbing.fragment import DubbingFragment, Outcome
from livedub.dubbing.ports import SessionClock, SpeechToSpeech
from livedub.sts.contract import PartialKind, StsPartial, StsRequest, StsResult
from livedub.sts.errors import StsFailure
from livedub.timeline.clock import NS_PER_MS

logger = logging.getLogger(__name__)

Answered = Callable[[str, Outcome], None]
"""Told a track and what STS made of the fragment in its language."""


class StsExchange:
    """Shared by all tracks: one request per fragment, one answer per language, each handed out as soon as it is there."""

    def __init__(self, sts: SpeechToSpeech, clock: SessionClock, in_flight_limit: int) -> None:
        self._sts = sts
        self._clock = clock
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
        call = _Call(fragment, answered, self._clock)
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
            )
            call.take_result(await self._process(request, call))
        except StsFailure as failure:
            logger.warning("fragment %d has no dub: %s", fragment.sequence_number, failure)
            call.answer_rest(failure.reason)
        except Exception:
            logger.exception("fragment %d failed inside the session", fragment.sequence_number)
            call.answer_rest("internal_error")
        finally:
            self._in_flight -= 1
            self._slots.release()
        if fragment.transcript is not None:
            self._context = fragment.transcript.text

    async def _process(self, request: StsRequest, call: _Call) -> StsResult:
        if len(request.config.targets) == 1:
            # Nothing to gain: the one dub and the whole answer come at the same time.
            return await self._sts.process(request)
        return await self._sts.process(request, call.hear)

    def _remaining_ms(self, fragment: DubbingFragment) -> int:
        remaining_ns = fragment.deadline_ns - self._clock.now_media_ns()
        return min(120_000, max(1, remaining_ns // NS_PER_MS))


class _Call:
    """One fragment on its way: which of its tracks have their answer."""

    def __init__(self, fragment: DubbingFragment, answered: Answered, clock: SessionClock) -> None:
        self._fragment = fragment
        self._answered = answered
        self._clock = clock
        self._open = {dub.target.language: track for track, dub in fragment.dubs.items()}

    async def hear(self, part: StsPartial) -> None:
        """Take a part of the answer: texts for subtitles, a language's dub for the air."""
        self._fragment.transcript = part.transcript or self._fragment.transcript
        for dub in part.dubs:
            track = self._open.get(dub.language)
            if track is None:
                continue
            self._fragment.dubs[track].text = dub.translated_text
            if part.kind is PartialKind.AUDIO and dub.audio is not None:
                self._answer(dub.language, partial(read_dub, self._fragment, dub))

    def take_result(self, result: StsResult) -> None:
        """Take the whole answer, for the tracks that have none yet."""
        self._fragment.result = result
        self._fragment.transcript = result.transcript or self._fragment.transcript
        for language in list(self._open):
            self._answer(language, partial(read_result, self._fragment, language, result))

    def answer_rest(self, reason: str) -> None:
        """The tracks that have no answer yet get none."""
        for language in list(self._open):
            self._answer(language, partial(Outcome, reason=reason))

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
        self._answered(track, outcome)
