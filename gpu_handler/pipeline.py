"""Speech to speech for fragments of many streams at once: recognise, guard, translate, speak, fit.

Each engine is a stage with a thread and a queue of its own, so the recognition of one fragment overlaps the
synthesis of another, and fragments of different streams share an engine's calls. Recognition runs once per fragment,
however many languages are wanted; each language goes its own way from there and is answered when it is ready.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from typing import TypeVar

from gpu_handler.casting import Casting
from gpu_handler.engines.base import ASR_SAMPLE_RATE_HZ, Line, Recognition, Samples, Speech, Utterance
from gpu_handler.engines.registry import Engines, build_engines
from gpu_handler.faults import Fault, FaultScript, spoil
from gpu_handler.interpreting import Interpreter
from gpu_handler.job import Job
from gpu_handler.language_job import LanguageJob
from gpu_handler.languages import AUTO, LanguageRoutes
from gpu_handler.partials import OnPartial, Partials
from gpu_handler.quality import terms
from gpu_handler.recognition import Heard, Listener
from gpu_handler.settings import StsSettings
from gpu_handler.speaking import Speaker
from gpu_handler.speech_cache import SpeechCache
from gpu_handler.stage_errors import StageError
from gpu_handler.stage_set import StageSet
from gpu_handler.stages import Approach, StageCounts
from gpu_handler.stream_memory import StreamMemory
from gpu_handler.stream_tempos import StreamTempos
from livedub.audio.resample import resample
from livedub.media_cache.policy import CachePolicy
from livedub.sts.contract import (
    Dub,
    ErrorCode,
    Health,
    Stage,
    Status,
    StsError,
    StsRequest,
    StsResult,
    Target,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

_STUCK_S = 120.0
"""A call that takes this long will not end: no engine needs it for one batch of fragments."""


class Pipeline:
    """Engines, the stages they work in, and the contract around them.

    Use: `load()` once (blocking, seconds), then `process()` from one event loop at a time, then `close()`.

    Args:
        engines: not yet loaded.
        faults: what is to go wrong, for tests of everything behind the service.
        settings: how stages gather and what is checked and remembered; the defaults where None.
        cache_policy: speech of earlier dubs; stays the caller's to close.
    """

    def __init__(
        self,
        engines: Engines,
        *,
        faults: FaultScript | None = None,
        settings: StsSettings | None = None,
        cache_policy: CachePolicy | None = None,
    ) -> None:
        options = settings or StsSettings.model_construct()
        self._engines = engines
        self._faults = faults or FaultScript()
        self._routes = LanguageRoutes(engines)
        self._stages = StageSet(engines, gather_ms=options.gather_ms)
        self._casting = Casting(engines.synthesizer, options.voice_registry)
        memory = StreamMemory(context_characters=options.context_characters)
        self._listener = Listener(self._stages, self._routes, memory)
        tempos = StreamTempos()
        self._interpreter = Interpreter(engines, self._stages, self._routes, tempos)
        self._cache = SpeechCache(engines.synthesizer, self._casting, cache_policy)
        self._speaker = Speaker(self._stages, tempos, self._cache, back_check=options.back_check)
        self._models: dict[str, str] = {}
        self._fine = Health(ready=False)
        self._ready = False

    @classmethod
    def from_settings(cls, settings: StsSettings, *, cache_policy: CachePolicy | None = None) -> Pipeline:
        """The pipeline that the settings describe, not yet loaded.

        Raises:
            ConfigurationError: an engine name or the fault script is wrong.
        """
        faults = FaultScript.parse(settings.mock_script)
        return cls(build_engines(settings), faults=faults, settings=settings, cache_policy=cache_policy)

    @property
    def ready(self) -> bool:
        """Whether every model is loaded and warm, and no engine is stuck."""
        return self._ready and not self._stuck()

    @property
    def counts(self) -> dict[str, StageCounts]:
        """What each stage (`input`, `asr`, `translation`, `tts`, `fit`) has done so far."""
        return self._stages.counts()

    def load(self) -> None:
        """Load and warm up every engine; blocks for seconds.

        Raises:
            MissingPrerequisiteError: a model or a program is missing; the message names the remedy.
            ConfigurationError: the voice registry is missing or wrong.
        """
        for engine in self._engines.every:
            started_s = time.monotonic()
            engine.load()
            log.info("%s loaded in %.1f s", engine.info.name, time.monotonic() - started_s)
        self._routes.refresh()
        self._casting.load()
        self._models = self._named_models()
        self._fine = Health(ready=True, models=self._models, languages=self.pairs())
        self._ready = True

    def close(self) -> None:
        """Stop the threads after their current call and free the engines. Safe to call twice."""
        self._ready = False
        self._stages.close()
        self._interpreter.close()
        for engine in self._engines.every:
            engine.close()

    def models(self) -> dict[str, str]:
        """Task to `engine:model`."""
        return self._models or self._named_models()

    def pairs(self) -> dict[str, tuple[str, ...]]:
        """Source language to the languages it can be dubbed into."""
        return self._routes.pairs

    def voices(self) -> dict[str, tuple[str, ...]]:
        """Language to its voices, the default first."""
        return self._casting.voices()

    def health(self) -> Health:
        """What `GET /health` answers."""
        if not self._ready:
            return Health(ready=False, models=self.models(), detail="models are loading")
        stuck = self._stuck()
        return Health(ready=False, models=self.models(), detail=stuck) if stuck else self._fine

    async def process(
        self, request: StsRequest, on_partial: OnPartial | None = None, *, received_s: float | None = None
    ) -> StsResult:
        """Dub one fragment; every failure is an answer, never an exception. Cancelling frees its place.

        Args:
            request: the fragment.
            on_partial: called with the texts as soon as they exist, then with each language's audio.
            received_s: when the request arrived (`time.monotonic`), where it waited before coming here.
        """
        job = Job(request, time.monotonic() if received_s is None else received_s)
        job.spend("queue_ms", time.monotonic() - job.received_s)
        rule = self._faults.rule_for(request.sequence_number, request.fragment_id)
        if rule is not None and rule.wait_ms:
            await asyncio.sleep(rule.wait_ms / 1000)
        if rule is not None and rule.fault not in (Fault.DELAY, Fault.STALL):
            on_partial = None
        try:
            result = await self._dub(job, on_partial)
        except StageError as failure:
            result = self._failed(job, failure.error)
        return result if rule is None else spoil(result, rule.fault)

    async def transcribe(self, samples: Samples, sample_rate_hz: int, language: str = AUTO) -> Recognition:
        """Recognise up to 30 s of mono audio, unguarded."""
        utterance = Utterance(resample(samples, sample_rate_hz, ASR_SAMPLE_RATE_HZ), language)
        (heard,) = await self._stages.asr.run_plain([utterance])
        return heard

    async def speak(self, text: str, voice: str, speed: float = 1.0) -> Speech:
        """Say `text` with a voice from `voices()`.

        Raises:
            ConfigurationError: there is no such voice.
            VoiceRefusedError: it may not speak outside its streams.
        """
        line = Line(text, self._casting.check(voice), speed)
        (speech,) = await self._stages.tts.run_plain([line])
        return speech

    async def _dub(self, job: Job, on_partial: OnPartial | None) -> StsResult:
        targets = job.request.config.targets
        if not self._ready:
            raise StageError(Stage.INPUT, ErrorCode.MODEL_ERROR, "models are still loading.", retryable=True)
        refused: dict[str, StageError] = {}
        accepted = [cast for target in targets if (cast := self._accept(job, target, refused)) is not None]
        if not accepted:
            raise refused[targets[0].language]
        to_translation = [Approach(self._stages.translation) for _ in accepted]
        to_tts = [Approach(self._stages.tts) for _ in accepted]
        try:
            heard = await self._listener.hear(job, to_translation)
            languages = [target.language for target, _ in accepted]
            partials = Partials(job, on_partial, languages, self.models())
            tasks = [
                LanguageJob(job, heard, target, voice, self._glossary(job, target), *approaches)
                for (target, voice), *approaches in zip(accepted, to_translation, to_tts, strict=True)
            ]
            done = await _together([self._one_language(task, partials) for task in tasks])
        finally:
            for approach in (*to_translation, *to_tts):
                approach.over()
        outcomes = refused | dict(zip((task.language for task in tasks), done, strict=True))
        return self._result(job, heard, [outcomes[target.language] for target in targets])

    def _accept(self, job: Job, target: Target, refused: dict[str, StageError]) -> tuple[Target, str] | None:
        """A target and its voice; one that is not possible costs the others nothing."""
        try:
            self._routes.check(job.request.config.source_language, target.language)
            return target, self._casting.cast(target, job.request.stream_id)
        except StageError as refusal:
            refused[target.language] = refusal
            return None

    @staticmethod
    def _glossary(job: Job, target: Target) -> dict[str, str]:
        return terms.glossary_of(job.request.config.glossary, target.glossary)

    async def _one_language(self, task: LanguageJob, partials: Partials) -> Dub | StageError:
        """A language that fails leaves the others alone."""
        transcript = task.heard.transcript
        try:
            wording = await self._interpreter.word(task)
        except StageError as failure:
            await partials.text(transcript, task.language, None)
            return failure
        line = self._cache.line(task, wording)
        worded = Dub(
            language=task.language,
            translated_text=wording.text,
            cache_key=line.key if line is not None else "",
            voice=task.voice,
        )
        await partials.text(transcript, task.language, worded)
        try:
            dub = await self._speaker.dub(task, wording, line)
        except StageError as failure:
            return failure
        await partials.audio(dub)
        return dub

    def _result(self, job: Job, heard: Heard, outcomes: list[Dub | StageError]) -> StsResult:
        dubs = tuple(outcome for outcome in outcomes if isinstance(outcome, Dub))
        failures = [outcome for outcome in outcomes if isinstance(outcome, StageError)]
        if failures and not dubs:
            raise failures[0]
        return StsResult(
            fragment_id=job.request.fragment_id,
            status=Status.PARTIAL if failures else Status.SUCCESS,
            transcript=heard.transcript,
            dubs=dubs,
            stage_timings=job.timings,
            models=self.models(),
            error=failures[0].error if failures else None,
        )

    def _failed(self, job: Job, error: StsError) -> StsResult:
        log.warning("%s failed in %s: %s", job.request.fragment_id, error.stage.value, error.message)
        return StsResult(
            fragment_id=job.request.fragment_id,
            status=Status.ERROR,
            stage_timings=job.timings,
            models=self.models(),
            error=error,
        )

    def _named_models(self) -> dict[str, str]:
        return {task: f"{info.name}:{info.model}" for task, info in self._engines.infos().items()}

    def _stuck(self) -> str:
        """Which engine has been at one call for too long; empty where none has."""
        for name, stage in self._stages.every.items():
            if stage.busy_s > _STUCK_S:
                return f"the {name} engine has not answered for {stage.busy_s:.0f} s: restart the service"
        return ""


async def _together(work: list[Awaitable[T]]) -> list[T]:
    """All results in order; where one fails, or the caller is cancelled, none goes on."""
    if len(work) == 1:
        return [await work[0]]
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
