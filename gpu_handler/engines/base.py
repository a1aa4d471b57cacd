"""The three engine protocols and what passes between them. Audio is mono float32 numpy in [-1, 1]."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from livedub.audio.pcm import Samples

ASR_SAMPLE_RATE_HZ = 16_000


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Who an engine is: for `/health`, results and licence reports."""

    name: str
    model: str
    licence: str


@dataclass(frozen=True, slots=True)
class TimedText:
    """A span of recognised text, milliseconds from the fragment's start."""

    start_ms: int
    end_ms: int
    text: str


@dataclass(frozen=True, slots=True)
class Recognition:
    """What the transcriber heard.

    `translations` holds what the same encoder pass yielded in other languages (Whisper: English), by language.
    The confidence fields feed the hallucination guards; None where an engine has no such figure.
    `language_probability` is set where the language was detected, not given.
    """

    text: str
    language: str
    segments: tuple[TimedText, ...] = ()
    translations: dict[str, str] = field(default_factory=dict)
    no_speech_probability: float | None = None
    average_log_probability: float | None = None
    compression_ratio: float | None = None
    language_probability: float | None = None


@dataclass(frozen=True, slots=True)
class Speech:
    """Synthesised speech: mono samples at `sample_rate_hz`, at `speed` times the voice's natural pace.

    `in_place` marks samples that already lie on the fragment's own time (the mock's): fitting leaves them there.
    """

    samples: Samples
    sample_rate_hz: int
    speed: float = 1.0
    in_place: bool = False


class Engine(Protocol):
    """What every engine has. `load` is called once, before any work, and may take seconds."""

    @property
    def info(self) -> EngineInfo:
        """Name, model and licence."""
        ...

    def load(self) -> None:
        """Load and warm up the model; raises `MissingPrerequisiteError` naming what to install."""
        ...

    def close(self) -> None:
        """Free processes and memory; safe to call twice."""
        ...


class SpeechDetector(Engine, Protocol):
    """Where somebody speaks."""

    def spans(self, samples: Samples) -> tuple[tuple[int, int], ...]:
        """Stretches of speech in mono 16 kHz samples, as (start, end) milliseconds in order."""
        ...


class Transcriber(Engine, Protocol):
    """Speech to text, and to every translation that its encoder pass gives for free."""

    def languages(self) -> frozenset[str]:
        """Languages it can recognise, as ISO 639 codes."""
        ...

    def translation_targets(self) -> frozenset[str]:
        """Languages it can translate speech into, from any other that it recognises."""
        ...

    def transcribe(
        self, samples: Samples, *, language: str, translate_to: frozenset[str], context: str
    ) -> Recognition:
        """Recognise mono 16 kHz samples; `language` is an ISO 639-1 code or "auto"."""
        ...


class Translator(Engine, Protocol):
    """Text to text."""

    def pairs(self) -> frozenset[tuple[str, str]]:
        """(source, target) pairs it can translate."""
        ...

    def translate(self, text: str, *, source: str, target: str) -> str:
        """Translate one utterance; raises `KeyError` for a pair not in `pairs()`."""
        ...


class Synthesizer(Engine, Protocol):
    """Text to speech."""

    def voices(self) -> dict[str, tuple[str, ...]]:
        """Language to its voice ids (`es/ef_dora`), the default first."""
        ...

    def natural_duration_ms(self, text: str, *, voice: str) -> int:
        """Estimate of how long `text` takes at speed 1, so that one synthesis at the right speed suffices."""
        ...

    def synthesize(self, text: str, *, voice: str, speed: float) -> Speech:
        """Speak `text`; `speed` is clamped to what the engine can do, `Speech.speed` says what it did."""
        ...
