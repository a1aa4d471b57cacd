"""Engines for tests of the pipeline: they do what they are told and remember what they were asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np

from gpu_handler.engines.base import (
    EngineInfo,
    Line,
    Recognition,
    Samples,
    Sentence,
    Speech,
    Translation,
    Utterance,
)
from gpu_handler.engines.registry import Engines

INFO = EngineInfo("fake", "fake-1", "none")
WAIT_S = 5.0


class FakeEngine:
    """`on_call` runs inside every call: it may raise, or wait for an event."""

    def __init__(self) -> None:
        self.calls: list[dict[str, object]] = []
        self.on_call: Callable[[], object] = lambda: None
        self.described = INFO
        self.loads = 0
        self.closes = 0
        self.most_at_once = 0
        self._running = 0
        self._lock = threading.Lock()

    @property
    def info(self) -> EngineInfo:
        return self.described

    def load(self) -> None:
        self.loads += 1

    def close(self) -> None:
        self.closes += 1

    def record(self, **call: object) -> None:
        with self._lock:
            self.calls.append(call)
            self._running += 1
            self.most_at_once = max(self.most_at_once, self._running)
        try:
            self.on_call()
        finally:
            with self._lock:
                self._running -= 1


class FakeDetector(FakeEngine):
    def __init__(self) -> None:
        super().__init__()
        self.answer: tuple[tuple[int, int], ...] = ((200, 1_800),)

    def spans(self, samples: Samples) -> tuple[tuple[int, int], ...]:
        self.record(samples=len(samples))
        return self.answer


class FakeTranscriber(FakeEngine):
    def __init__(self) -> None:
        super().__init__()
        self.text = "buenas noches a todos"
        self.detected: tuple[str, float] = ("es", 0.95)
        self.english = "good evening everyone"
        self.confidence: float | None = -0.2

    def languages(self) -> frozenset[str]:
        return frozenset({"de", "en", "es", "fr"})

    def translation_targets(self) -> frozenset[str]:
        return frozenset({"en"})

    def transcribe(self, batch: Sequence[Utterance]) -> list[Recognition]:
        return [self._hear(utterance) for utterance in batch]

    def _hear(self, utterance: Utterance) -> Recognition:
        self.record(
            terms=utterance.terms,
            samples=len(utterance.samples),
            language=utterance.language,
            translate_to=utterance.translate_to,
            context=utterance.context,
        )
        auto = utterance.language == "auto"
        return Recognition(
            text=self.text,
            language=self.detected[0] if auto else utterance.language,
            translations={"en": self.english} if "en" in utterance.translate_to else {},
            average_log_probability=self.confidence,
            language_probability=self.detected[1] if auto else None,
        )


class FakeTranslator(FakeEngine):
    """`answer` makes the translation; `shortens` is what it says about itself."""

    def __init__(self) -> None:
        super().__init__()
        self.shortens = False
        self.known = {("en", "es"), ("es", "en"), ("es", "fr")}
        self.answer: Callable[[Sentence], Translation] = lambda sentence: Translation(
            f"{sentence.text} [{sentence.source}-{sentence.target}]"
        )

    def pairs(self) -> frozenset[tuple[str, str]]:
        return frozenset(self.known)

    def translate(self, batch: Sequence[Sentence]) -> list[Translation]:
        return [self._translate(sentence) for sentence in batch]

    def _translate(self, sentence: Sentence) -> Translation:
        self.record(
            text=sentence.text,
            source=sentence.source,
            target=sentence.target,
            context=sentence.context,
            brevity=sentence.brevity,
        )
        return self.answer(sentence)


class FakeSynthesizer(FakeEngine):
    def __init__(self) -> None:
        super().__init__()
        self.samples: Samples = np.full(24_000, 0.2, dtype=np.float32)
        self.extra_voices: dict[str, tuple[str, ...]] = {}
        self.natural_ms: Callable[[str], int] = lambda _: 1_000
        self.say: Callable[[Line], Samples] = lambda _: self.samples

    def voices(self) -> dict[str, tuple[str, ...]]:
        return {"en": ("en/one", "en/two"), "es": ("es/one",), "fr": ("fr/one",)} | self.extra_voices

    def natural_duration_ms(self, text: str, *, voice: str) -> int:
        del voice
        return self.natural_ms(text)

    def synthesize(self, batch: Sequence[Line]) -> list[Speech]:
        return [self._say(line) for line in batch]

    def _say(self, line: Line) -> Speech:
        self.record(text=line.text, voice=line.voice, speed=line.speed, seed=line.seed)
        return Speech(self.say(line), 24_000, line.speed)


class FakeEngines:
    """All of them, and the `Engines` they make."""

    def __init__(self) -> None:
        self.detector = FakeDetector()
        self.transcriber = FakeTranscriber()
        self.translator = FakeTranslator()
        self.synthesizer = FakeSynthesizer()

    @property
    def every(self) -> list[FakeEngine]:
        return [self.detector, self.transcriber, self.translator, self.synthesizer]

    def engines(self, *, speech_translation: bool = True) -> Engines:
        return Engines(
            self.detector,
            self.transcriber,
            self.translator,
            self.synthesizer,
            speech_translation=speech_translation,
        )
