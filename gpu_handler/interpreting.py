"""From what was said to what a dub says.

The way is the recogniser's own translation, else the transcript's, else through English; the caller's terms are kept,
and a wording is looked for that fits the time its source took before anybody has to speak faster.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from gpu_handler.engines.base import Sentence
from gpu_handler.engines.registry import Engines
from gpu_handler.guards import is_believable
from gpu_handler.language_job import LanguageJob
from gpu_handler.languages import PIVOT, LanguageRoutes
from gpu_handler.quality import consistency, spoken_numbers, terms
from gpu_handler.quality.brevity import MAX_TEMPO, Candidate, choose, needed_tempo
from gpu_handler.stage_errors import StageError, stage_error
from gpu_handler.stage_set import StageSet
from gpu_handler.stream_tempos import StreamTempos
from livedub.sts.contract import ErrorCode, Stage

log = logging.getLogger(__name__)

_SHORTEST_BREVITY = 2
_DOUBTFUL = 2.0
"""Penalty of one wrong figure, unit, date or term: reason enough to hear another translator."""

_UNUSABLE = 1_000.0
_SHOWN = 80
_TEXT_THREADS = 2


@dataclass(frozen=True, slots=True)
class Wording:
    """What a dub says, and how long its voice takes for it at its natural pace; empty says nothing."""

    text: str
    natural_ms: int = 0


@dataclass(frozen=True, slots=True)
class _Origin:
    """A text to translate, and what was said before it in the same language; `pivoted` goes through English."""

    text: str
    language: str
    context: str = ""
    pivoted: bool = False


class Interpreter:
    """Finds the wording of each language of a fragment."""

    def __init__(
        self, engines: Engines, stages: StageSet, routes: LanguageRoutes, tempos: StreamTempos
    ) -> None:
        self._engines = engines
        self._stages = stages
        self._routes = routes
        self._tempos = tempos
        self._instant = engines.synthesizer.info.instant_estimates
        self._pool = ThreadPoolExecutor(_TEXT_THREADS, thread_name_prefix="sts-text")

    def close(self) -> None:
        """Let running text work end."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def word(self, task: LanguageJob) -> Wording:
        """What the dub says.

        Raises:
            StageError: the language cannot be reached, its deadline cannot be met, or an engine failed.
        """
        recognition = task.heard.recognition
        if not recognition.text or task.language == recognition.language:
            task.to_translation.passed()
            return Wording("")
        task.job.check_deadline(Stage.TRANSLATION)
        spoken = self._from_speech(task)
        origin = self._origin(task)
        if spoken:
            task.to_translation.passed()
            task.to_tts.near()
            edited = terms.post_edit(spoken, task.glossary, source=task.source, target=task.language)
            text = _localised(task, edited, _Origin(recognition.text, task.source))
            return await self._fitting(task, origin, [text], translated=False)
        if origin is not None:
            return await self._fitting(task, origin, await self._translate(task, origin), translated=True)
        task.to_translation.passed()
        if task.language in recognition.translations:
            return Wording("")  # the recogniser's translation is not to be believed, and there is no other
        raise self._routes.unsupported(task.source, task.language)

    def _from_speech(self, task: LanguageJob) -> str:
        """The recogniser's own translation, empty where there is none to be believed."""
        recognition = task.heard.recognition
        spoken = recognition.translations.get(task.language, "")
        believed = self._engines.speech_translation and is_believable(spoken, recognition.text)
        return spoken if believed else ""

    def _origin(self, task: LanguageJob) -> _Origin | None:
        """The text to translate from; None where no translator leads to the language."""
        recognition = task.heard.recognition
        if self._routes.has_text_pair(task.source, task.language):
            return _Origin(recognition.text, task.source, task.heard.context)
        english = recognition.translations.get(PIVOT, "")
        if self._routes.has_text_pair(PIVOT, task.language) and is_believable(english, recognition.text):
            return _Origin(english, PIVOT)
        if self._routes.is_pivoted(task.source, task.language):
            return _Origin(recognition.text, task.source, task.heard.context, pivoted=True)
        return None

    async def _translate(self, task: LanguageJob, origin: _Origin, brevity: int = 0) -> list[str]:
        """The translator's candidates, best first, each with the caller's terms in the wanted wording."""
        source, target = origin.language, task.language
        protected = terms.protect(origin.text, task.glossary, source=source, target=target)
        translated = await self._ask(task, origin, protected.text, brevity)
        restored = [terms.restore(text, protected) for text in translated]
        whole = [one.text for one in restored if not one.lost]
        if whole:
            return _distinct([_localised(task, text, origin) for text in whole])
        log.info("%s lost terms: %s", task.name, ", ".join(restored[0].lost))
        plain = await self._ask(task, origin, origin.text, brevity)
        edited = (terms.post_edit(text, task.glossary, source=source, target=target) for text in plain)
        return _distinct([_localised(task, text, origin) for text in edited])

    async def _ask(self, task: LanguageJob, origin: _Origin, text: str, brevity: int) -> list[str]:
        if origin.pivoted:
            english = await self._stages.translation.run(
                task.job,
                Sentence(text, origin.language, PIVOT, origin.context),
                rest_ns=self._stages.translation.least_ns() + self._rest_ns(),
                approach=task.to_translation,
            )
            origin = _Origin(english.text, PIVOT)
            text = english.text
        task.to_tts.over()
        translation = await self._stages.translation.run(
            task.job,
            Sentence(text, origin.language, task.language, origin.context, brevity),
            rest_ns=self._rest_ns(),
            approach=task.to_translation,
            on_answer=task.to_tts.near,
        )
        return [translation.text, *translation.alternatives]

    def _rest_ns(self) -> int:
        """The least time from a wording to an answer."""
        return self._stages.tts.least_ns() + self._stages.fit.least_ns()

    async def _fitting(
        self, task: LanguageJob, origin: _Origin | None, texts: list[str], *, translated: bool
    ) -> Wording:
        """The best wording that needs no hurry; others are asked for where there is none.

        Raises:
            StageError: no wording can be used.
        """
        chosen = await self._choose(task, texts)
        if origin is not None:
            try:
                chosen = await self._improved(task, origin, texts, chosen, translated=translated)
            except StageError as error:
                log.info("%s: no other wording: %s", task.name, error)
        if chosen.penalty >= _UNUSABLE:
            raise StageError(
                Stage.TRANSLATION,
                ErrorCode.MODEL_ERROR,
                f"the translation into {task.language} ran away: {chosen.text[:_SHOWN]!r}.",
                retryable=False,
            )
        return Wording(chosen.text, chosen.natural_ms)

    async def _improved(
        self, task: LanguageJob, origin: _Origin, texts: list[str], chosen: Candidate, *, translated: bool
    ) -> Candidate:
        """A wording at least as good, from the translator or from shorter translations."""
        if not translated and chosen.penalty >= _DOUBTFUL:
            # the recogniser knows no glossary and writes figures as it hears them
            texts = _distinct([*texts, *await self._translate(task, origin)])
            chosen = await self._choose(task, texts)
        brevity = 0
        while (
            self._engines.translator.shortens and brevity < _SHORTEST_BREVITY and self._hurries(task, chosen)
        ):
            brevity += 1
            known = len(texts)
            texts = _distinct([*texts, *await self._translate(task, origin, brevity)])
            if len(texts) > known:
                chosen = await self._choose(task, texts)
        return chosen

    @staticmethod
    def _hurries(task: LanguageJob, candidate: Candidate) -> bool:
        return needed_tempo(candidate.natural_ms, task.heard.slot) > MAX_TEMPO

    async def _choose(self, task: LanguageJob, texts: Sequence[str]) -> Candidate:
        """Weigh wordings, in a thread where a voice's estimate may run a program."""
        started_s = time.monotonic()
        # no faster than its neighbour's tempo allows, where another wording is there for nothing
        max_tempo = max(1.0, min(MAX_TEMPO, self._tempos.near(task).high))
        try:
            if self._instant:
                return self._weigh(task, texts, max_tempo)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, self._weigh, task, texts, max_tempo)
        except Exception as error:  # engines raise whatever their libraries raise
            raise stage_error(Stage.TTS, error) from error
        finally:
            task.job.spend("tts_ms", time.monotonic() - started_s)

    def _weigh(self, task: LanguageJob, texts: Sequence[str], max_tempo: float) -> Candidate:
        """The first where nothing speaks against it, else the best of those that can be used at all."""
        best = self._candidate(task, texts[0])
        comfortable = needed_tempo(best.natural_ms, task.heard.slot) <= max_tempo
        if len(texts) == 1 or (best.penalty == 0 and comfortable):
            return best
        candidates = [best, *(self._candidate(task, text) for text in texts[1:])]
        usable = [candidate for candidate in candidates if candidate.penalty < _UNUSABLE]
        return choose(usable, task.heard.slot, max_tempo) if usable else best

    def _candidate(self, task: LanguageJob, text: str) -> Candidate:
        problems = consistency.check(
            task.heard.recognition.text, text, task.source, task.language, task.glossary
        )
        if problems:
            found = ", ".join(f"{problem.kind.value} {problem.what}" for problem in problems)
            log.info("%s: %s (%r)", task.name, found, text)
        penalty = consistency.penalty(problems)
        if any(problem.unusable for problem in problems):
            penalty += _UNUSABLE
        natural_ms = self._engines.synthesizer.natural_duration_ms(text, voice=task.voice) if text else 0
        return Candidate(text, natural_ms, penalty)


def _localised(task: LanguageJob, text: str, origin: _Origin) -> str:
    return spoken_numbers.localise(text, origin.text, origin.language, task.language)


def _distinct(texts: Sequence[str]) -> list[str]:
    """Without repeats and blanks, in order; one blank where there is nothing else."""
    return [text for text in dict.fromkeys(texts) if text.strip()] or [""]
