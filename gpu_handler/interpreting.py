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
from gpu_handler.quality import consistency, terms
from gpu_handler.quality.brevity import MAX_TEMPO, Candidate, choose, needed_tempo
from gpu_handler.stage_errors import stage_error
from gpu_handler.stage_set import StageSet
from livedub.sts.contract import Stage

log = logging.getLogger(__name__)

_SHORTEST_BREVITY = 2
_TEXT_THREADS = 2


@dataclass(frozen=True, slots=True)
class Wording:
    """What a dub says, and how long its voice takes for it at its natural pace; empty says nothing."""

    text: str
    natural_ms: int = 0


@dataclass(frozen=True, slots=True)
class _Origin:
    """A text to translate, and what was said before it in the same language."""

    text: str
    language: str
    context: str = ""


class Interpreter:
    """Finds the wording of each language of a fragment."""

    def __init__(self, engines: Engines, stages: StageSet, routes: LanguageRoutes) -> None:
        self._engines = engines
        self._stages = stages
        self._routes = routes
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
            texts = [terms.post_edit(spoken, task.glossary, source=task.source, target=task.language)]
        elif origin is not None:
            texts = await self._translate(task, origin)
        else:
            task.to_translation.passed()
            if task.language in recognition.translations:
                return Wording(
                    ""
                )  # the recogniser's translation is not to be believed, and there is no other
            raise self._routes.unsupported(task.source, task.language)
        return await self._fitting(task, origin, texts)

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
        return None

    async def _translate(self, task: LanguageJob, origin: _Origin, brevity: int = 0) -> list[str]:
        """The translator's candidates, best first, each with the caller's terms in the wanted wording."""
        source, target = origin.language, task.language
        protected = terms.protect(origin.text, task.glossary, source=source, target=target)
        translated = await self._ask(task, origin, protected.text, brevity)
        restored = [terms.restore(text, protected) for text in translated]
        whole = [one.text for one in restored if not one.lost]
        if whole:
            return _distinct(whole)
        log.info("%s lost terms: %s", task.name, ", ".join(restored[0].lost))
        plain = await self._ask(task, origin, origin.text, brevity)
        return _distinct(
            [terms.post_edit(text, task.glossary, source=source, target=target) for text in plain]
        )

    async def _ask(self, task: LanguageJob, origin: _Origin, text: str, brevity: int) -> list[str]:
        sentence = Sentence(text, origin.language, task.language, origin.context, brevity)
        task.to_tts.over()
        translation = await self._stages.translation.run(
            task.job,
            sentence,
            rest_ns=self._stages.tts.least_ns() + self._stages.fit.least_ns(),
            approach=task.to_translation,
            on_answer=task.to_tts.near,
        )
        return [translation.text, *translation.alternatives]

    async def _fitting(self, task: LanguageJob, origin: _Origin | None, texts: list[str]) -> Wording:
        """The best wording that needs no hurry; shorter ones are asked for where there is none."""
        chosen = await self._choose(task, texts)
        brevity = 0
        shortens = origin is not None and self._engines.translator.shortens
        while shortens and self._hurries(task, chosen) and brevity < _SHORTEST_BREVITY:
            brevity += 1
            assert origin is not None  # noqa: S101 - shortens says so
            shorter = await self._translate(task, origin, brevity)
            known = len(texts)
            texts = _distinct([*texts, *shorter])
            if len(texts) > known:
                chosen = await self._choose(task, texts)
        return Wording(chosen.text, chosen.natural_ms)

    @staticmethod
    def _hurries(task: LanguageJob, candidate: Candidate) -> bool:
        return needed_tempo(candidate.natural_ms, task.heard.slot) > MAX_TEMPO

    async def _choose(self, task: LanguageJob, texts: Sequence[str]) -> Candidate:
        """Weigh wordings, in a thread where a voice's estimate may run a program."""
        started_s = time.monotonic()
        try:
            if self._instant:
                return self._weigh(task, texts)
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._weigh, task, texts)
        except Exception as error:  # engines raise whatever their libraries raise
            raise stage_error(Stage.TTS, error) from error
        finally:
            task.job.spend("tts_ms", time.monotonic() - started_s)

    def _weigh(self, task: LanguageJob, texts: Sequence[str]) -> Candidate:
        """The first where nothing speaks against it, else the best of all."""
        best = self._candidate(task, texts[0])
        if len(texts) == 1 or (best.penalty == 0 and not self._hurries(task, best)):
            return best
        others = (self._candidate(task, text) for text in texts[1:])
        return choose([best, *others], task.heard.slot, MAX_TEMPO)

    def _candidate(self, task: LanguageJob, text: str) -> Candidate:
        problems = consistency.check(
            task.heard.recognition.text, text, task.source, task.language, task.glossary
        )
        if problems:
            found = ", ".join(f"{problem.kind.value} {problem.what}" for problem in problems)
            log.info("%s: %s (%r)", task.name, found, text)
        natural_ms = self._engines.synthesizer.natural_duration_ms(text, voice=task.voice) if text else 0
        return Candidate(text, natural_ms, consistency.penalty(problems))


def _distinct(texts: Sequence[str]) -> list[str]:
    """Without repeats and blanks, in order; one blank where there is nothing else."""
    return [text for text in dict.fromkeys(texts) if text.strip()] or [""]
