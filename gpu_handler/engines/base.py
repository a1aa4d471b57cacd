"""The engine protocols and what passes between them. Audio is mono float32 numpy in [-1, 1].

Recognisers, translators and voices work on batches of up to `EngineInfo.max_batch` items; one that cannot batch says 1
and gets lists of one. A call answers every item in order or raises once for all: which item was to blame is found
out by its caller, who runs them singly. At most `EngineInfo.lanes` calls of one engine overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from livedub.audio.pcm import Samples

ASR_SAMPLE_RATE_HZ = 16_000

_NATURAL = 0.005
"""How far from speed 1 a voice still speaks at its natural pace."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Who an engine is: for `/health`, results and licence reports.

    `max_batch` is the most items that one call may carry, `lanes` the most calls at the same time. `commercial_use` is false where the licence of the model
    forbids it. `instant_estimates`: a voice's `natural_duration_ms` is arithmetic, no thread is needed for it.
    """

    name: str
    model: str
    licence: str
    max_batch: int = 1
    commercial_use: bool = True
    instant_estimates: bool = False
    lanes: int = 1


@dataclass(frozen=True, slots=True)
class TimedText:
    """A span of recognised text, milliseconds from the fragment's start; `words` where the engine times them."""

    start_ms: int
    end_ms: int
    text: str
    words: tuple[TimedText, ...] = ()


@dataclass(frozen=True, slots=True)
class Utterance:
    """What a transcriber hears: mono 16 kHz samples of at most 30 s.

    `language` is an ISO 639 code or "auto"; `translate_to` the languages wanted from the same pass; `context` what
    was said before; `terms` how names and terms are spelt.
    """

    samples: Samples
    language: str
    translate_to: frozenset[str] = frozenset()
    context: str = ""
    terms: tuple[str, ...] = ()


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
class Sentence:
    """What a translator gets. `context` is what was said before, in the source language, not to be translated.

    `brevity` is 0 for natural wording, 1 and up for ever shorter wording (where the engine `shortens`).
    """

    text: str
    source: str
    target: str
    context: str = ""
    brevity: int = 0


@dataclass(frozen=True, slots=True)
class Translation:
    """The best translation; `alternatives` are the engine's other candidates, best first."""

    text: str
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """What a voice says. `speed` is clamped to what the engine can do.

    Another `seed` asks for another rendering of the same text, where the engine has a random part.
    """

    text: str
    voice: str
    speed: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Speech:
    """Synthesised speech: mono samples at `sample_rate_hz`, at `speed` times the voice's natural pace.

    `in_place` marks samples that already lie on the fragment's own time (the mock's): fitting leaves them there.
    """

    samples: Samples
    sample_rate_hz: int
    speed: float = 1.0
    in_place: bool = False

    @property
    def natural(self) -> bool:
        """Whether it is a voice's own speech at its natural pace."""
        return not self.in_place and abs(self.speed - 1.0) <= _NATURAL


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

    def transcribe(self, batch: Sequence[Utterance]) -> list[Recognition]:
        """Recognise each utterance; one pass over the speech whatever the number of translations."""
        ...


class Translator(Engine, Protocol):
    """Text to text."""

    @property
    def shortens(self) -> bool:
        """Whether `Sentence.brevity` makes a difference."""
        ...

    def pairs(self) -> frozenset[tuple[str, str]]:
        """(source, target) pairs it can translate."""
        ...

    def translate(self, batch: Sequence[Sentence]) -> list[Translation]:
        """Translate each sentence; raises `KeyError` for a pair not in `pairs()`."""
        ...


class Synthesizer(Engine, Protocol):
    """Text to speech."""

    def voices(self) -> dict[str, tuple[str, ...]]:
        """Language to its voice ids (`es/ef_dora`), the default first."""
        ...

    def natural_duration_ms(self, text: str, *, voice: str) -> int:
        """Estimate of how long `text` takes at speed 1; safe to call from any thread, also during a synthesis."""
        ...

    def synthesize(self, batch: Sequence[Line]) -> list[Speech]:
        """Speak each line; `Speech.speed` says at what speed it was done. A voice it lacks is a `KeyError`."""
        ...
