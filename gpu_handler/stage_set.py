"""The stages of a pipeline and what goes through each."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from gpu_handler.audio_io import DurationMismatchError, read_audio
from gpu_handler.engines.base import Line, Recognition, Samples, Sentence, Speech, Translation, Utterance
from gpu_handler.engines.registry import Engines
from gpu_handler.quality.speech_check import SpeechFault, SpeechVerdict, check_speech
from gpu_handler.stage_errors import StageError, stage_error
from gpu_handler.stages import Stage, StageCounts
from livedub.audio.codec import encode_audio
from livedub.audio.fit import FittedDub, fit, trim_silence
from livedub.audio.resample import fit_length
from livedub.errors import InvalidInputError
from livedub.sts.contract import MAX_FRAGMENT_MS, Audio, AudioFormat, ErrorCode, SpeechSpan
from livedub.sts.contract import Stage as StageName
from livedub.timeline.clock import NS_PER_MS, ns_to_samples
from livedub.timeline.isochrony import TempoRange
from livedub.timeline.slot import Slot

_MOST_INPUT_LANES = 4
_MOST_FIT_LANES = 8

Spans = tuple[tuple[int, int], ...]

I = TypeVar("I")  # noqa: E741 - an item
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Opened:
    """A fragment's audio as the recogniser wants it, where somebody speaks in it, and how long finding that took."""

    samples: Samples
    spans: Spans
    detecting_s: float


@dataclass(frozen=True, slots=True)
class Spoken:
    """What is to be checked and laid into its fragment; `wanted` where its caller would keep it as it was spoken."""

    speech: Speech
    text: str
    natural_ms: int
    slot: Slot
    neighbours: TempoRange
    audio_format: AudioFormat
    wanted: bool = False


@dataclass(frozen=True, slots=True)
class LaidIn:
    """A finished dub, or why its speech cannot be used; `natural` and `natural_audio` as in the contract's `Dub`."""

    verdict: SpeechVerdict
    tempo: float = 1.0
    audio: Audio | None = None
    natural: SpeechSpan | None = None
    natural_audio: Audio | None = None


class StageSet:
    """One stage per engine, before them the opening of fragments, after them the fitting of dubs.

    Args:
        engines: not necessarily loaded yet.
        gather_ms: how long a free engine waits at most for items that are about to come.
    """

    def __init__(self, engines: Engines, *, gather_ms: float) -> None:
        cores = len(os.sched_getaffinity(0))
        self._engines = engines
        self.input: Stage[Audio, Opened] = Stage(
            StageName.INPUT, _one_by_one(self._open), lanes=max(1, min(_MOST_INPUT_LANES, cores // 2))
        )
        self.asr: Stage[Utterance, Recognition] = Stage(
            StageName.ASR,
            self._transcribe,
            timing="asr_ms",
            max_batch=engines.transcriber.info.max_batch,
            lanes=engines.transcriber.info.lanes,
            gather_ms=gather_ms,
        )
        self.translation: Stage[Sentence, Translation] = Stage(
            StageName.TRANSLATION,
            self._translate,
            timing="translation_ms",
            max_batch=engines.translator.info.max_batch,
            lanes=engines.translator.info.lanes,
            gather_ms=gather_ms,
            upstream=self.asr,
        )
        self.tts: Stage[Line, Speech] = Stage(
            StageName.TTS,
            self._synthesize,
            timing="tts_ms",
            max_batch=engines.synthesizer.info.max_batch,
            lanes=engines.synthesizer.info.lanes,
            gather_ms=gather_ms,
            upstream=self.translation,
        )
        self.fit: Stage[Spoken, LaidIn] = Stage(
            StageName.FIT,
            _one_by_one(_lay_in),
            timing="fit_ms",
            lanes=max(2, min(_MOST_FIT_LANES, cores)),
        )

    @property
    def every(self) -> dict[str, Stage[Any, Any]]:
        """All of them by name, in the order of the work."""
        stages: tuple[Stage[Any, Any], ...] = (self.input, self.asr, self.translation, self.tts, self.fit)
        return {stage.name.value: stage for stage in stages}

    def counts(self) -> dict[str, StageCounts]:
        """What each stage has done."""
        return {name: stage.counts for name, stage in self.every.items()}

    def close(self) -> None:
        """Stop every thread after its current call."""
        for stage in self.every.values():
            stage.close()

    def _transcribe(self, batch: Sequence[Utterance]) -> list[Recognition]:
        return self._engines.transcriber.transcribe(batch)

    def _translate(self, batch: Sequence[Sentence]) -> list[Translation]:
        return self._engines.translator.translate(batch)

    def _synthesize(self, batch: Sequence[Line]) -> list[Speech]:
        return self._engines.synthesizer.synthesize(batch)

    def _open(self, audio: Audio) -> Opened:
        try:
            samples = read_audio(audio)
        except DurationMismatchError as error:
            raise StageError(
                StageName.INPUT, ErrorCode.DURATION_MISMATCH, str(error), retryable=False
            ) from error
        except InvalidInputError as error:
            raise StageError(StageName.INPUT, ErrorCode.INVALID_INPUT, str(error), retryable=False) from error
        started_s = time.monotonic()
        try:
            spans = self._engines.detector.spans(samples)
        except Exception as error:  # engines raise whatever their libraries raise
            raise stage_error(StageName.ASR, error) from error
        return Opened(samples, spans, time.monotonic() - started_s)


def _one_by_one(work: Callable[[I], R]) -> Callable[[Sequence[I]], list[R]]:
    return lambda batch: [work(item) for item in batch]


def _lay_in(spoken: Spoken) -> LaidIn:
    """Check what a voice made; what is fine is fitted and encoded."""
    verdict = _check(spoken)
    if not verdict.fine:
        return LaidIn(verdict)
    fitted = _fitted(spoken)
    audio = encode_audio(fitted.samples, fitted.sample_rate_hz, spoken.audio_format)
    natural = _natural(spoken.speech, fitted)
    apart = _spoken_audio(spoken) if spoken.wanted and natural is None else None
    return LaidIn(verdict, fitted.tempo, audio, natural, apart)


def _fitted(spoken: Spoken) -> FittedDub:
    speech, slot = spoken.speech, spoken.slot
    rate_hz = speech.sample_rate_hz
    if speech.in_place:
        samples = fit_length(speech.samples, ns_to_samples(slot.fragment_ms * NS_PER_MS, rate_hz))
        return FittedDub(samples, rate_hz, tempo=speech.speed)
    return fit(speech.samples, rate_hz, slot, speed=speech.speed, neighbours=spoken.neighbours)


def _natural(speech: Speech, fitted: FittedDub) -> SpeechSpan | None:
    if fitted.as_spoken is None or not speech.natural:
        return None
    first, end = fitted.as_spoken
    rate_hz = fitted.sample_rate_hz
    return SpeechSpan(start_ms=first * 1_000 // rate_hz, end_ms=-(-end * 1_000 // rate_hz))


def _spoken_audio(spoken: Spoken) -> Audio | None:
    speech = spoken.speech
    samples = trim_silence(speech.samples, speech.sample_rate_hz)
    longest = MAX_FRAGMENT_MS * speech.sample_rate_hz // 1_000
    if not speech.natural or not 0 < len(samples) <= longest:
        return None
    return encode_audio(samples, speech.sample_rate_hz, spoken.audio_format)


def _check(spoken: Spoken) -> SpeechVerdict:
    speech = spoken.speech
    if not speech.in_place:
        return check_speech(
            speech.samples,
            speech.sample_rate_hz,
            text=spoken.text,
            natural_ms=spoken.natural_ms,
            speed=speech.speed,
        )
    # a stand-in for a voice says something else than the text: only its being audio can be judged
    verdict = check_speech(speech.samples, speech.sample_rate_hz, text="", natural_ms=0)
    broken = verdict.fault in (SpeechFault.EMPTY, SpeechFault.NOT_FINITE)
    return verdict if broken else SpeechVerdict()
