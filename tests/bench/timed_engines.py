"""Engines that take a set time, record when they worked for whom, and carry every fragment's mark through.

A fragment's mark lies in its first samples, then in its text, then in the first samples of its dub: who looks at the
dub can tell whether it is the fragment's own.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from gpu_handler.engines.base import (
    EngineInfo,
    Line,
    Recognition,
    Samples,
    Sentence,
    Speech,
    TimedText,
    Translation,
    Utterance,
)
from gpu_handler.engines.registry import Engines
from livedub.audio.codec import decode_audio, encode_audio
from livedub.sts.contract import Audio, AudioFormat, StsConfig, StsRequest, Target

RATE_HZ = 16_000
MARK_BITS = 40
LANGUAGES = ("de", "en", "es", "fr", "it", "pt")
_STREAM_BITS = 16
_LEVEL = 0.5
_TEXT = re.compile(r"s(\d+)n(\d+)")

T = TypeVar("T")
Disturb = Callable[[str, Sequence["Mark"]], None]


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """Which fragment: the number of its stream, its own in there."""

    stream: int
    number: int

    @property
    def text(self) -> str:
        """Words that no guard takes for a hallucination."""
        return f"relato s{self.stream}n{self.number} del partido"

    @property
    def fragment_id(self) -> str:
        return f"bench{self.stream}/1/{self.number}"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an engine, on `time.perf_counter`."""

    started_s: float
    ended_s: float
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call takes: `one_s` for one item, `batch_factor` times as much for any more."""

    one_s: float
    batch_factor: float = 1.5

    def of(self, items: int) -> float:
        return self.one_s * (1.0 if items == 1 else self.batch_factor)


@dataclass(slots=True)
class Record:
    """Every call by engine, in the order in which they ended."""

    calls: dict[str, list[Call]] = field(default_factory=lambda: {"asr": [], "translation": [], "tts": []})
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, engine: str, call: Call) -> None:
        with self._lock:
            self.calls[engine].append(call)


class _TimedEngine:
    """Takes its time over every call."""

    def __init__(
        self, name: str, cost: Cost, max_batch: int, record: Record, disturb: Disturb | None = None
    ) -> None:
        self._name = name
        self._cost = cost
        self._max_batch = max_batch
        self._record = record
        self._disturb = disturb
        self._working = threading.Lock()

    @property
    def info(self) -> EngineInfo:
        return EngineInfo("timed", self._name, "none", max_batch=self._max_batch)

    def load(self) -> None:
        pass

    def close(self) -> None:
        pass

    @contextlib.contextmanager
    def call(self, items: Sequence[T], mark: Callable[[T], Mark]) -> Iterator[list[Mark]]:
        """One call: the time goes by asleep, as in an engine that waits for its GPU; all of it is recorded."""
        started_s = time.perf_counter()
        marks = [mark(item) for item in items]
        if len(marks) > self._max_batch:
            raise AssertionError(f"{self._name} was given {len(marks)} items, more than {self._max_batch}")
        if not self._working.acquire(blocking=False):
            raise AssertionError(f"two calls of {self._name} at once")
        try:
            time.sleep(self._cost.of(len(marks)))
            if self._disturb is not None:
                self._disturb(self._name, marks)
            yield marks
        finally:
            self._working.release()
            self._record.add(self._name, Call(started_s, time.perf_counter(), tuple(marks)))


class TimedDetector(_TimedEngine):
    def __init__(self, record: Record) -> None:
        super().__init__("detector", Cost(0), 1, record)

    def spans(self, samples: Samples) -> tuple[tuple[int, int], ...]:
        return ((0, len(samples) * 1_000 // RATE_HZ),)


class TimedTranscriber(_TimedEngine):
    def languages(self) -> frozenset[str]:
        return frozenset(LANGUAGES)

    def translation_targets(self) -> frozenset[str]:
        return frozenset()

    def transcribe(self, batch: Sequence[Utterance]) -> list[Recognition]:
        with self.call(batch, lambda utterance: mark_of(utterance.samples)) as marks:
            return [
                Recognition(
                    text=mark.text,
                    language=utterance.language,
                    segments=(TimedText(0, len(utterance.samples) * 1_000 // RATE_HZ, mark.text),),
                )
                for mark, utterance in zip(marks, batch, strict=True)
            ]


class TimedTranslator(_TimedEngine):
    @property
    def shortens(self) -> bool:
        return False

    def pairs(self) -> frozenset[tuple[str, str]]:
        return frozenset((a, b) for a in LANGUAGES for b in LANGUAGES if a != b)

    def translate(self, batch: Sequence[Sentence]) -> list[Translation]:
        with self.call(batch, lambda sentence: mark_in(sentence.text)):
            return [Translation(sentence.text) for sentence in batch]


class TimedSynthesizer(_TimedEngine):
    """Says a fragment as a tone as long as its clip, behind its mark."""

    def __init__(self, *arguments: Any, clip_ms: int) -> None:
        super().__init__(*arguments)
        self._clip_ms = clip_ms

    def voices(self) -> dict[str, tuple[str, ...]]:
        return {language: (f"{language}/timed",) for language in LANGUAGES}

    def natural_duration_ms(self, text: str, *, voice: str) -> int:
        del text, voice
        return self._clip_ms

    def synthesize(self, batch: Sequence[Line]) -> list[Speech]:
        with self.call(batch, lambda line: mark_in(line.text)) as marks:
            return [Speech(marked(mark, self._clip_ms), RATE_HZ, in_place=True) for mark in marks]


def timed_engines(
    record: Record,
    *,
    asr: Cost,
    translation: Cost,
    tts: Cost,
    max_batch: int,
    clip_ms: int,
    disturb: Disturb | None = None,
) -> Engines:
    """A set of engines that share one record."""
    return Engines(
        detector=TimedDetector(record),
        transcriber=TimedTranscriber("asr", asr, max_batch, record, disturb),
        translator=TimedTranslator("translation", translation, max_batch, record, disturb),
        synthesizer=TimedSynthesizer("tts", tts, max_batch, record, disturb, clip_ms=clip_ms),
    )


def marked(mark: Mark, clip_ms: int) -> Samples:
    """A tone with the mark in its first samples, one bit each."""
    samples = 0.3 * np.sin(np.arange(RATE_HZ * clip_ms // 1_000, dtype=np.float32) * 0.2)
    value = mark.number << _STREAM_BITS | mark.stream
    bits = [_LEVEL if value >> bit & 1 else -_LEVEL for bit in range(MARK_BITS)]
    samples[:MARK_BITS] = bits
    return samples.astype(np.float32)


def mark_of(samples: Samples) -> Mark:
    """The mark in a fragment's or a dub's first samples."""
    value = sum(1 << bit for bit in range(MARK_BITS) if samples[bit] > 0)
    return Mark(value & ((1 << _STREAM_BITS) - 1), value >> _STREAM_BITS)


def mark_in(text: str) -> Mark:
    """The mark in a text."""
    found = _TEXT.search(text)
    if found is None:
        raise AssertionError(f"no mark in {text!r}")
    return Mark(int(found[1]), int(found[2]))


def mark_heard(audio: Audio) -> Mark:
    """The mark in a dub."""
    return mark_of(decode_audio(audio))


def request_for(
    mark: Mark,
    *,
    clip_ms: int,
    deadline_ms: int,
    targets: Sequence[str] = ("en",),
    audio_format: AudioFormat = AudioFormat.PCM_S16LE,
) -> StsRequest:
    """The request that carries a marked fragment."""
    return StsRequest(
        fragment_id=mark.fragment_id,
        stream_id=f"bench{mark.stream}",
        generation=1,
        sequence_number=mark.number,
        deadline_ms=deadline_ms,
        audio=encode_audio(marked(mark, clip_ms), RATE_HZ, audio_format),
        config=StsConfig(
            source_language="es", targets=tuple(Target(language=language) for language in targets)
        ),
    )
