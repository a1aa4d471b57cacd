"""Speech to speech for one fragment at a time per stage: recognise, guard, translate, speak, fit.

Each engine works in a thread of its own, first come first served, so the recognition of one fragment overlaps the
synthesis of the one before. Recognition runs once per fragment, however many languages are wanted.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from gpu_handler.audio_io import DurationMismatchError, check_speech, read_audio
from gpu_handler.engines.base import (
    ASR_SAMPLE_RATE_HZ,
    Line,
    Recognition,
    Samples,
    Sentence,
    Speech,
    TimedText,
    Utterance,
)
from gpu_handler.engines.registry import Engines, build_engines
from gpu_handler.faults import Fault, FaultScript, spoil
from gpu_handler.fit import FittedDub, Slot, choose_speed, fit
from gpu_handler.guards import Verdict, is_believable, judge
from gpu_handler.settings import StsSettings
from livedub.audio.codec import encode_audio
from livedub.audio.resample import resample
from livedub.errors import ConfigurationError, InvalidInputError
from livedub.sts.contract import (
    Audio,
    Dub,
    ErrorCode,
    Health,
    PartialKind,
    Stage,
    StageTimings,
    Status,
    StsError,
    StsPartial,
    StsRequest,
    StsResult,
    Target,
    TextSegment,
    Transcript,
)

log = logging.getLogger(__name__)

OnPartial = Callable[[StsPartial], Awaitable[None]]
T = TypeVar("T")

_AUTO = "auto"
_UNDETERMINED = "und"  # ISO 639-2: there was nothing to tell a language by
_STREAMS_REMEMBERED = 256
_SURE_OF_LANGUAGE = 0.7
_FIT_WORKERS = 2
_OUT_OF_MEMORY = ("out of memory", "failed to allocate")


class StageError(Exception):
    """A fragment failed in one stage; becomes the answer's `error`."""

    def __init__(self, stage: Stage, code: ErrorCode, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.error = StsError(stage=stage, code=code, message=message, retryable=retryable)


@dataclass(slots=True)
class _Job:
    """One request on its way: its deadline and where its time went."""

    request: StsRequest
    received_s: float
    spent_ms: dict[str, float] = field(default_factory=dict)

    def check_deadline(self, stage: Stage) -> None:
        late_ms = (time.monotonic() - self.received_s) * 1000 - self.request.deadline_ms
        if late_ms > 0:
            raise StageError(
                stage,
                ErrorCode.TIMEOUT,
                f"deadline_ms ({self.request.deadline_ms}) passed {late_ms:.0f} ms before stage {stage.value}.",
                retryable=True,
            )

    def spend(self, name: str, seconds: float) -> None:
        self.spent_ms[name] = self.spent_ms.get(name, 0.0) + seconds * 1000

    @property
    def timings(self) -> StageTimings:
        return StageTimings(**{name: round(spent, 3) for name, spent in self.spent_ms.items()})


class _Worker:
    """A thread (or a few) that runs one engine's calls in the order in which they came."""

    def __init__(self, stage: Stage, timing: str, workers: int = 1) -> None:
        self._stage = stage
        self._timing = timing
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=f"sts-{stage.value}")

    async def run(self, job: _Job, call: Callable[[], T]) -> T:
        """Run `call` unless the deadline has passed by its turn; whatever it raises becomes a StageError."""
        job.check_deadline(self._stage)
        queued_s = time.monotonic()

        def timed() -> T:
            started_s = time.monotonic()
            job.spend("queue_ms", started_s - queued_s)
            job.check_deadline(self._stage)
            try:
                return call()
            finally:
                job.spend(self._timing, time.monotonic() - started_s)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, timed)
        except StageError:
            raise
        except Exception as error:  # engines raise whatever their libraries raise
            raise _stage_error(self._stage, error) from error

    async def run_plain(self, call: Callable[[], T]) -> T:
        """Run `call` in turn, outside any request."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        """Let the running call end; drop those that wait."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class Pipeline:
    """Engines, the order they work in, and the contract around them.

    Use: `load()` once (blocking, seconds), then `process()` from one event loop, then `close()`.
    """

    def __init__(self, engines: Engines, *, faults: FaultScript | None = None) -> None:
        self._engines = engines
        self._faults = faults or FaultScript()
        self._spoken = _LanguageMemory()
        self._input = _Worker(Stage.INPUT, "queue_ms")
        self._asr = _Worker(Stage.ASR, "asr_ms")
        self._translation = _Worker(Stage.TRANSLATION, "translation_ms")
        self._tts = _Worker(Stage.TTS, "tts_ms")
        self._fit = _Worker(Stage.FIT, "fit_ms", workers=_FIT_WORKERS)
        self._ready = False

    @classmethod
    def from_settings(cls, settings: StsSettings) -> Pipeline:
        """The pipeline that the settings describe, not yet loaded.

        Raises:
            ConfigurationError: an engine name or the fault script is wrong.
        """
        return cls(build_engines(settings), faults=FaultScript.parse(settings.mock_script))

    @property
    def ready(self) -> bool:
        """Whether every model is loaded and warm."""
        return self._ready

    def load(self) -> None:
        """Load and warm up every engine; blocks for seconds.

        Raises:
            MissingPrerequisiteError: a model or a program is missing; the message names the remedy.
        """
        engines = self._engines
        for engine in (engines.detector, engines.transcriber, engines.translator, engines.synthesizer):
            started_s = time.monotonic()
            engine.load()
            log.info("%s loaded in %.1f s", engine.info.name, time.monotonic() - started_s)
        self._ready = True

    def close(self) -> None:
        """Stop the threads after their current call and free the engines. Safe to call twice."""
        self._ready = False
        for worker in (self._input, self._asr, self._translation, self._tts, self._fit):
            worker.close()
        engines = self._engines
        for engine in (engines.detector, engines.transcriber, engines.translator, engines.synthesizer):
            engine.close()

    def models(self) -> dict[str, str]:
        """Task to `engine:model`."""
        return {task: f"{info.name}:{info.model}" for task, info in self._engines.infos().items()}

    def pairs(self) -> dict[str, tuple[str, ...]]:
        """Source language to the languages it can be dubbed into."""
        speakable = self._engines.synthesizer.voices().keys()
        return {
            source: targets
            for source in sorted(self._engines.transcriber.languages())
            if (targets := tuple(t for t in sorted(speakable) if self._translatable(source, t)))
        }

    def voices(self) -> dict[str, tuple[str, ...]]:
        """Language to its voices, the default first."""
        return self._engines.synthesizer.voices()

    def health(self) -> Health:
        """What `GET /health` answers."""
        if not self._ready:
            return Health(ready=False, models=self.models(), detail="models are loading")
        return Health(ready=True, models=self.models(), languages=self.pairs())

    async def process(
        self, request: StsRequest, on_partial: OnPartial | None = None, *, received_s: float | None = None
    ) -> StsResult:
        """Dub one fragment; every failure is an answer, never an exception.

        Args:
            request: the fragment.
            on_partial: called with the texts as soon as they exist, then with each language's audio.
            received_s: when the request arrived (`time.monotonic`), where it waited before coming here.
        """
        job = _Job(request, time.monotonic() if received_s is None else received_s)
        job.spend("queue_ms", time.monotonic() - job.received_s)
        rule = self._faults.rule_for(request.sequence_number)
        if rule is not None and rule.wait_ms:
            await asyncio.sleep(rule.wait_ms / 1000)
        if rule is not None and rule.fault not in (Fault.DELAY, Fault.STALL):
            on_partial = None
        try:
            result = await self._dub(job, on_partial or _ignore)
        except StageError as failure:
            result = self._failed(job, failure.error)
        return result if rule is None else spoil(result, rule.fault)

    async def transcribe(self, samples: Samples, sample_rate_hz: int, language: str = _AUTO) -> Recognition:
        """Recognise up to 30 s of mono audio, unguarded."""
        utterance = Utterance(resample(samples, sample_rate_hz, ASR_SAMPLE_RATE_HZ), language)
        (heard,) = await self._asr.run_plain(partial(self._engines.transcriber.transcribe, [utterance]))
        return heard

    async def speak(self, text: str, voice: str, speed: float = 1.0) -> Speech:
        """Say `text` with a voice from `voices()`.

        Raises:
            ConfigurationError: there is no such voice.
        """
        self._check_voice(voice)
        (speech,) = await self._tts.run_plain(
            partial(self._engines.synthesizer.synthesize, [Line(text, voice, speed)])
        )
        return speech

    async def _dub(self, job: _Job, on_partial: OnPartial) -> StsResult:
        request = job.request
        if not self._ready:
            raise StageError(Stage.INPUT, ErrorCode.MODEL_ERROR, "models are still loading.", retryable=True)
        self._check_languages(request)
        voices = {target.language: self._voice_for(target) for target in request.config.targets}
        samples = await self._input.run(job, partial(_read, request.audio))
        recognition, slot = await self._recognise(job, samples)
        transcript = _transcript(recognition)
        texts, failure = await self._translate_all(job, recognition)
        await on_partial(_text_partial(job, transcript, texts))
        dubs: list[Dub] = []
        for language, text in texts.items():
            try:
                dub = await self._speak_dub(job, language, text, voices[language], slot)
            except StageError as error:
                failure = error
                continue
            dubs.append(dub)
            await on_partial(
                StsPartial(
                    kind=PartialKind.AUDIO,
                    fragment_id=request.fragment_id,
                    dubs=(dub,),
                    stage_timings=job.timings,
                )
            )
        if failure is not None and not dubs:
            raise failure
        return StsResult(
            fragment_id=request.fragment_id,
            status=Status.SUCCESS if failure is None else Status.PARTIAL,
            transcript=transcript,
            dubs=tuple(dubs),
            stage_timings=job.timings,
            models=self.models(),
            error=None if failure is None else failure.error,
        )

    def _failed(self, job: _Job, error: StsError) -> StsResult:
        log.warning("%s failed in %s: %s", job.request.fragment_id, error.stage.value, error.message)
        return StsResult(
            fragment_id=job.request.fragment_id,
            status=Status.ERROR,
            stage_timings=job.timings,
            models=self.models(),
            error=error,
        )

    async def _recognise(self, job: _Job, samples: Samples) -> tuple[Recognition, Slot]:
        """What was said (empty where the guards do not believe it) and where the dub goes."""
        request = job.request
        stream = (request.stream_id, request.generation)
        language = request.config.source_language
        if language == _AUTO:
            language = self._spoken.recall(stream)

        def recognise() -> tuple[Recognition, tuple[tuple[int, int], ...]]:
            spans = self._engines.detector.spans(samples)
            if not spans:
                return Recognition(text="", language=_UNDETERMINED if language == _AUTO else language), spans
            wanted = (
                frozenset({"en"}) if self._needs_english(language, request.config.targets) else frozenset()
            )
            utterance = Utterance(
                samples,
                language,
                translate_to=wanted & self._engines.transcriber.translation_targets(),
                context=request.config.context,
            )
            (recognition,) = self._engines.transcriber.transcribe([utterance])
            return recognition, spans

        recognition, spans = await self._asr.run(job, recognise)
        verdict = judge(recognition, voice_ms=sum(end - start for start, end in spans))
        slot = _slot(request, spans)
        if verdict is not Verdict.FINE:
            log.info("%s not dubbed: %s (%r)", request.fragment_id, verdict.value, recognition.text)
            return Recognition(text="", language=recognition.language), slot
        if recognition.language_probability is not None:
            self._spoken.learn(stream, recognition.language, recognition.language_probability)
        return _within(recognition, slot), slot

    async def _translate_all(
        self, job: _Job, recognition: Recognition
    ) -> tuple[dict[str, str], StageError | None]:
        """Text per target language; a language that fails is left out and the failure returned."""
        texts: dict[str, str] = {}
        failure: StageError | None = None
        for target in job.request.config.targets:
            language = target.language
            if not recognition.text or language == recognition.language:
                texts[language] = ""
                continue
            try:
                text = await self._translation.run(job, partial(self._translate, recognition, language))
            except StageError as error:
                failure = error
                continue
            texts[language] = _with_glossary(text, job.request.config.glossary)
        return texts, failure

    def _translate(self, recognition: Recognition, language: str) -> str:
        """By the recogniser where it can, else from the transcript, else through English."""
        engines = self._engines
        heard = recognition.translations.get(language)
        if heard and engines.speech_translation and is_believable(heard, recognition.text):
            return heard
        source = recognition.language
        if (source, language) in engines.translator.pairs():
            return engines.translator.translate([Sentence(recognition.text, source, language)])[0].text
        english = recognition.translations.get("en", "")
        if is_believable(english, recognition.text) and ("en", language) in engines.translator.pairs():
            return engines.translator.translate([Sentence(english, "en", language)])[0].text
        if heard is not None:
            return ""
        raise _unsupported(source, language, self.pairs())

    async def _speak_dub(self, job: _Job, language: str, text: str, voice: str, slot: Slot) -> Dub:
        if not text.strip():
            return Dub(language=language, translated_text="")
        synthesizer = self._engines.synthesizer

        def speak() -> Speech:
            natural_ms = synthesizer.natural_duration_ms(text, voice=voice)
            (speech,) = synthesizer.synthesize([Line(text, voice, choose_speed(natural_ms, slot))])
            check_speech(speech.samples)
            return speech

        speech = await self._tts.run(job, speak)

        def lay_in() -> tuple[FittedDub, Audio]:
            fitted = fit(speech, slot)
            return fitted, encode_audio(fitted.samples, fitted.sample_rate_hz, job.request.audio.format)

        fitted, audio = await self._fit.run(job, lay_in)
        return Dub(language=language, translated_text=text, audio=audio, tempo=round(fitted.tempo, 4))

    def _translatable(self, source: str, target: str) -> bool:
        if source == target:
            return False
        pairs = self._engines.translator.pairs()
        return (
            (source, target) in pairs
            or target in self._speech_targets(source)
            or ("en" in self._speech_targets(source) and ("en", target) in pairs)
        )

    def _speech_targets(self, source: str) -> frozenset[str]:
        if not self._engines.speech_translation:
            return frozenset()
        return self._engines.transcriber.translation_targets() - {source}

    def _needs_english(self, source: str, targets: tuple[Target, ...]) -> bool:
        """Whether any target is English, or is reached through it."""
        if "en" not in self._speech_targets(source):
            return False
        direct = self._engines.translator.pairs()
        return any(t.language == "en" or (source, t.language) not in direct for t in targets)

    def _check_languages(self, request: StsRequest) -> None:
        source = request.config.source_language
        pairs = self.pairs()
        reachable = {language for targets in pairs.values() for language in targets}
        for target in request.config.targets:
            known = reachable if source == _AUTO else pairs.get(source, ())
            if target.language not in known:
                raise _unsupported(source, target.language, pairs)

    def _voice_for(self, target: Target) -> str:
        try:
            return self._check_voice(target.voice or self.voices()[target.language][0])
        except ConfigurationError as error:
            raise StageError(Stage.INPUT, ErrorCode.INVALID_INPUT, str(error), retryable=False) from error

    def _check_voice(self, voice: str) -> str:
        known = self.voices().get(voice.split("/", 1)[0], ())
        if voice not in known:
            choices = ", ".join(known) or ", ".join(sorted(self.voices()))
            raise ConfigurationError(f"there is no voice {voice!r}.", remedy=f"Choose one of: {choices}.")
        return voice


class _LanguageMemory:
    """The language of each stream whose source is "auto", from the first sure detection on."""

    def __init__(self) -> None:
        self._languages: OrderedDict[tuple[str, int], str] = OrderedDict()

    def recall(self, stream: tuple[str, int]) -> str:
        if stream not in self._languages:
            return _AUTO
        self._languages.move_to_end(stream)
        return self._languages[stream]

    def learn(self, stream: tuple[str, int], language: str, probability: float) -> None:
        if probability < _SURE_OF_LANGUAGE:
            return
        self._languages[stream] = language
        while len(self._languages) > _STREAMS_REMEMBERED:
            self._languages.popitem(last=False)


async def _ignore(_: StsPartial) -> None:
    """For callers that want no partials."""


def _read(audio: Audio) -> Samples:
    try:
        return read_audio(audio)
    except DurationMismatchError as error:
        raise StageError(Stage.INPUT, ErrorCode.DURATION_MISMATCH, str(error), retryable=False) from error
    except InvalidInputError as error:
        raise StageError(Stage.INPUT, ErrorCode.INVALID_INPUT, str(error), retryable=False) from error


def _stage_error(stage: Stage, error: Exception) -> StageError:
    message = f"{type(error).__name__}: {error}"
    if any(sign in message.lower() for sign in _OUT_OF_MEMORY) or isinstance(error, MemoryError):
        return StageError(stage, ErrorCode.GPU_OOM, message, retryable=True)
    return StageError(stage, ErrorCode.MODEL_ERROR, message, retryable=True)


def _unsupported(source: str, target: str, pairs: dict[str, tuple[str, ...]]) -> StageError:
    return StageError(
        Stage.INPUT,
        ErrorCode.UNSUPPORTED_LANGUAGE,
        f"cannot dub {source!r} into {target!r}; available: {_summary(pairs)}.",
        retryable=False,
    )


def _summary(pairs: dict[str, tuple[str, ...]]) -> str:
    """Pairs grouped by what they can be dubbed into."""
    by_targets: dict[tuple[str, ...], list[str]] = {}
    for source, targets in pairs.items():
        by_targets.setdefault(targets, []).append(source)
    return "; ".join(
        f"{' '.join(sources)} into {' '.join(targets)}" for targets, sources in by_targets.items()
    )


def _slot(request: StsRequest, spans: tuple[tuple[int, int], ...]) -> Slot:
    """Where the dub goes: the caller's word on where speech lies counts more than the detector's."""
    fragment_ms = request.audio.duration_ms
    if request.speech:
        start, end = request.speech[0].start_ms, request.speech[-1].end_ms
    elif spans:
        start, end = spans[0][0], spans[-1][1]
    else:
        start, end = 0, fragment_ms
    start = min(start, fragment_ms - 1)
    end = max(start + 1, min(end, fragment_ms))
    return Slot(fragment_ms, start, end, fragment_ms + request.config.max_overflow_ms)


def _within(recognition: Recognition, slot: Slot) -> Recognition:
    """A transcript without timestamps of its own spans the fragment's speech."""
    if len(recognition.segments) != 1:
        return recognition
    segment = TimedText(slot.speech_start_ms, slot.speech_end_ms, recognition.segments[0].text)
    return Recognition(
        text=recognition.text,
        language=recognition.language,
        segments=(segment,),
        translations=recognition.translations,
        language_probability=recognition.language_probability,
    )


def _with_glossary(text: str, glossary: dict[str, str]) -> str:
    """Terms that came through translation as they were said, in the wording the caller wants."""
    for term, wanted in glossary.items():
        text = re.sub(
            rf"(?<!\w){re.escape(term)}(?!\w)", lambda _, wanted=wanted: wanted, text, flags=re.IGNORECASE
        )
    return text


def _transcript(recognition: Recognition) -> Transcript:
    return Transcript(
        text=recognition.text,
        language=recognition.language,
        segments=tuple(
            TextSegment(start_ms=s.start_ms, end_ms=s.end_ms, text=s.text) for s in recognition.segments
        ),
    )


def _text_partial(job: _Job, transcript: Transcript, texts: dict[str, str]) -> StsPartial:
    return StsPartial(
        kind=PartialKind.TEXT,
        fragment_id=job.request.fragment_id,
        transcript=transcript,
        dubs=tuple(Dub(language=language, translated_text=text) for language, text in texts.items()),
        stage_timings=job.timings,
    )
