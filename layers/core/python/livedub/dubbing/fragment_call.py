"""One fragment on its way through STS: which of its languages have their answer, from whom."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from livedub.dubbing.cached_speech import CachedSpeech, FragmentLines
from livedub.dubbing.exchange import read_dub, read_result
from livedub.dubbing.fragment import DubbingFragment, Outcome
from livedub.dubbing.ports import SessionClock
from livedub.sts.contract import Dub, PartialKind, StsPartial, StsRequest, StsResult
from livedub.sts.errors import StsFailure
from livedub.timeline.clock import NS_PER_S

logger = logging.getLogger(__name__)

Answered = Callable[[str, Outcome], None]
"""Told a track and what STS made of the fragment in its language."""


class FragmentCall:
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
