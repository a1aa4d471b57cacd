"""What was said in a fragment, and where in it the dub goes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from gpu_handler.engines.base import Recognition, TimedText, Utterance
from gpu_handler.guards import Verdict, judge
from gpu_handler.job import Job
from gpu_handler.languages import AUTO, UNDETERMINED, LanguageRoutes
from gpu_handler.stage_set import Spans, StageSet
from gpu_handler.stages import Approach
from gpu_handler.stream_memory import StreamMemory
from livedub.sts.contract import StsRequest, TextSegment, Transcript
from livedub.sts.slot import slot_of
from livedub.timeline.slot import Slot

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Heard:
    """A recognised fragment; its text is empty where there was nothing to believe.

    `context` is what was said before it, in the same language.
    """

    recognition: Recognition
    slot: Slot
    context: str = ""

    @property
    def transcript(self) -> Transcript:
        """As the contract has it."""
        return Transcript(
            text=self.recognition.text,
            language=self.recognition.language,
            segments=tuple(
                TextSegment(start_ms=segment.start_ms, end_ms=segment.end_ms, text=segment.text)
                for segment in self.recognition.segments
            ),
        )


class Listener:
    """Opens fragments, has them recognised once each, and believes only what the guards let pass."""

    def __init__(self, stages: StageSet, routes: LanguageRoutes, memory: StreamMemory) -> None:
        self._stages = stages
        self._routes = routes
        self._memory = memory

    async def hear(self, job: Job, to_translation: Sequence[Approach]) -> Heard:
        """Recognise a fragment.

        Args:
            job: the fragment.
            to_translation: the languages that will come to translation once it is recognised.

        Raises:
            StageError: broken audio, a missed deadline, a failing engine.
        """
        request = job.request
        to_asr = Approach(self._stages.asr)
        to_asr.near()
        try:
            opened = await self._stages.input.run(job, request.audio, rest_ns=self._rest_ns())
            job.spend("asr_ms", opened.detecting_s)
            language = request.config.source_language
            if language == AUTO:
                language = self._memory.language(job.stream)
            slot = slot_of(request, opened.spans)
            if not opened.spans:
                undetermined = UNDETERMINED if language == AUTO else language
                return Heard(Recognition(text="", language=undetermined), slot)
            context = request.config.context or self._memory.context(job.stream, request.sequence_number)
            utterance = Utterance(
                opened.samples,
                language,
                translate_to=self._routes.needed_of_speech(
                    language, (target.language for target in request.config.targets)
                ),
                context=context,
                terms=_terms(request),
            )
            recognition = await self._stages.asr.run(
                job,
                utterance,
                rest_ns=self._rest_ns(),
                approach=to_asr,
                on_answer=lambda: _near(to_translation),
            )
        finally:
            to_asr.over()
        return self._believed(job, recognition, opened.spans, slot, context)

    def _rest_ns(self) -> int:
        """The least time from here to an answer: a voice and its fitting."""
        return self._stages.tts.least_ns() + self._stages.fit.least_ns()

    def _believed(self, job: Job, recognition: Recognition, spans: Spans, slot: Slot, context: str) -> Heard:
        verdict = judge(
            recognition,
            voice_ms=sum(end - start for start, end in spans),
            fragment_ms=job.request.audio.duration_ms,
        )
        if verdict is not Verdict.FINE:
            log.info("%s not dubbed: %s (%r)", job.request.fragment_id, verdict.value, recognition.text)
            return Heard(Recognition(text="", language=recognition.language), slot)
        if recognition.language_probability is not None:
            self._memory.learn_language(job.stream, recognition.language, recognition.language_probability)
        self._memory.learn_text(job.stream, job.request.sequence_number, recognition.text)
        return Heard(_within(recognition, slot), slot, context)


def _near(approaches: Sequence[Approach]) -> None:
    for approach in approaches:
        approach.near()


def _within(recognition: Recognition, slot: Slot) -> Recognition:
    """A transcript without timestamps of its own spans the fragment's speech."""
    if len(recognition.segments) != 1 or recognition.segments[0].words:
        return recognition
    segment = TimedText(slot.speech_start_ms, slot.speech_end_ms, recognition.segments[0].text)
    return Recognition(
        text=recognition.text,
        language=recognition.language,
        segments=(segment,),
        translations=recognition.translations,
        language_probability=recognition.language_probability,
    )


def _terms(request: StsRequest) -> tuple[str, ...]:
    """Every glossary's terms: how names are spelt."""
    config = request.config
    glossaries = (config.glossary, *(target.glossary for target in config.targets))
    return tuple(dict.fromkeys(term for glossary in glossaries for term in glossary))
