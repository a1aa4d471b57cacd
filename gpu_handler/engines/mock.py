"""Deterministic stand-ins for every engine: no models, no randomness, the same answer for the same fragment.

The mock says the fragment's own audio again (or a tone of its length), so a test can follow every sample through
a whole system. Recogniser and voice share a booth: the recogniser keeps the audio under a name derived from it,
the "transcript" carries that name, and the voice plays what is kept there.

For measurements each has a fixed cost per call, more for a batch than for one item; for proofs its calls fail as the
fault script says.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from gpu_handler.engines.base import (
    ASR_SAMPLE_RATE_HZ,
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
from gpu_handler.faults import Fault, FaultRule, FaultScript
from gpu_handler.settings import StsSettings
from livedub.audio.pcm import rms_dbfs

I = TypeVar("I")  # noqa: E741 - an item
R = TypeVar("R")

_LANGUAGES = ("de", "en", "es", "fr", "it", "pt")
_KEPT = 512
_KEPT_BYTES = 96 * 1024 * 1024
_CALLS_LOGGED = 4_096
_NAME = re.compile(r"\b[0-9a-f]{12}\b")
_TONE_HZ = 440.0
_TONE_LEVEL = 0.2
_SILENCE_DBFS = -60.0


@dataclass(frozen=True, slots=True)
class MockCall:
    """One call of a mock: when it began and ended (`time.monotonic`), and how many items it was about."""

    started_s: float
    ended_s: float
    items: int


class _MockEngine:
    """What mocks have in common: `calls` counts every call, failing ones included; `log` holds the newest."""

    def __init__(
        self, name: str, settings: StsSettings, *, cost_ms: float = 0.0, delay_ms: float = 0.0
    ) -> None:
        self.calls = 0
        self.items = 0
        self.log: deque[MockCall] = deque(maxlen=_CALLS_LOGGED)
        self._name = name
        self._info = EngineInfo(
            "mock", "mock", "none", max_batch=settings.mock_max_batch, instant_estimates=True
        )
        self._one_s, self._delay_s = cost_ms / 1000, delay_ms / 1000
        self._several = settings.mock_batch_cost
        self._faults = FaultScript.parse(settings.mock_script)
        self._closed = threading.Event()

    @property
    def info(self) -> EngineInfo:
        """The mock has no model."""
        return self._info

    def load(self) -> None:
        """Nothing to load."""
        self._closed.clear()

    def close(self) -> None:
        """Nothing to free; a call that takes its time ends at once."""
        self._closed.set()

    def _work(self, answer: Callable[[I], R], batch: Sequence[I]) -> list[R]:
        """Answer each item, in the time that the call costs, or fail as the script says.

        Raises:
            RuntimeError: a scripted crash, or memory that ran out.
        """
        started_s = time.monotonic()
        self.calls += 1
        self.items += len(batch)
        rule = self._faults.rule_for_call(self._name, self.calls)
        try:
            if rule is not None:
                self._fail(rule)
            answers = [answer(item) for item in batch]
            cost_s = self._one_s * (self._several if len(batch) > 1 else 1) + self._delay_s
            left_s = started_s + cost_s - time.monotonic()
            if cost_s > 0 and left_s > 0:
                self._closed.wait(left_s)
        finally:
            self.log.append(MockCall(started_s, time.monotonic(), len(batch)))
        return answers

    def _fail(self, rule: FaultRule) -> None:
        self._closed.wait(rule.wait_ms / 1000)
        if rule.fault is Fault.CRASH:
            raise RuntimeError("scripted crash")
        if rule.fault is Fault.OOM:
            raise RuntimeError("scripted: CUDA out of memory")


class MockBooth:
    """The newest fragments' audio by name; shared by the mock recogniser and the mock voice."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Samples] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def keep(self, samples: Samples) -> str:
        """Remember 16 kHz samples; the name is a digest of them."""
        name = hashlib.sha256(samples.tobytes()).hexdigest()[:12]
        with self._lock:
            if name not in self._kept:
                self._bytes += samples.nbytes
            self._kept[name] = samples
            self._kept.move_to_end(name)
            while len(self._kept) > _KEPT or (self._bytes > _KEPT_BYTES and len(self._kept) > 1):
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return name

    def find(self, text: str) -> Samples:
        """The audio whose name stands in `text`; half a second of silence when there is none."""
        match = _NAME.search(text)
        with self._lock:
            kept = self._kept.get(match.group()) if match else None
        return np.zeros(ASR_SAMPLE_RATE_HZ // 2, dtype=np.float32) if kept is None else kept


class MockDetector(_MockEngine):
    """All of a fragment is speech unless it is silent."""

    def __init__(self, settings: StsSettings) -> None:
        super().__init__("detector", settings)

    def spans(self, samples: Samples) -> tuple[tuple[int, int], ...]:
        """One span over the whole fragment, none where it is quieter than -60 dBFS."""
        if samples.size == 0 or rms_dbfs(samples) < _SILENCE_DBFS:
            return ()
        return ((0, len(samples) * 1000 // ASR_SAMPLE_RATE_HZ),)


class MockTranscriber(_MockEngine):
    """Hears `mock fragment <name>` after the configured delay."""

    def __init__(self, booth: MockBooth, settings: StsSettings) -> None:
        super().__init__(
            "transcriber", settings, cost_ms=settings.mock_asr_ms, delay_ms=settings.mock_delay_ms
        )
        self._booth = booth

    def languages(self) -> frozenset[str]:
        """The languages the mock pretends to know."""
        return frozenset(_LANGUAGES)

    def translation_targets(self) -> frozenset[str]:
        """None: text is for the translator."""
        return frozenset()

    def transcribe(self, batch: Sequence[Utterance]) -> list[Recognition]:
        """Name each fragment; "auto" detects Spanish."""
        return self._work(self._hear, batch)

    def _hear(self, utterance: Utterance) -> Recognition:
        samples, language = utterance.samples, utterance.language
        text = f"mock fragment {self._booth.keep(samples)}"
        detected = language == "auto"
        return Recognition(
            text=text,
            language="es" if detected else language,
            segments=(TimedText(0, len(samples) * 1000 // ASR_SAMPLE_RATE_HZ, text),),
            language_probability=1.0 if detected else None,
        )


class MockTranslator(_MockEngine):
    """Every text is already in the target language."""

    def __init__(self, settings: StsSettings) -> None:
        super().__init__("translator", settings, cost_ms=settings.mock_mt_ms)
        self._pairs = frozenset((a, b) for a in _LANGUAGES for b in _LANGUAGES if a != b)

    def pairs(self) -> frozenset[tuple[str, str]]:
        """Each language to every other."""
        return self._pairs

    @property
    def shortens(self) -> bool:
        """The mock changes no text."""
        return False

    def translate(self, batch: Sequence[Sentence]) -> list[Translation]:
        """Each text as it is."""
        for sentence in batch:
            if (sentence.source, sentence.target) not in self._pairs:
                raise KeyError((sentence.source, sentence.target))
        return self._work(lambda sentence: Translation(sentence.text), batch)


class MockSynthesizer(_MockEngine):
    """Plays the fragment's own audio in its own place, or a tone over the whole of it."""

    def __init__(self, booth: MockBooth, settings: StsSettings) -> None:
        super().__init__("synthesizer", settings, cost_ms=settings.mock_tts_ms)
        self._booth = booth
        self._tone = settings.mock_voice == "tone"

    def voices(self) -> dict[str, tuple[str, ...]]:
        """One voice per language."""
        return {language: (f"{language}/mock",) for language in _LANGUAGES}

    def natural_duration_ms(self, text: str, *, voice: str) -> int:
        """Exactly the fragment's duration."""
        del voice
        return len(self._booth.find(text)) * 1000 // ASR_SAMPLE_RATE_HZ

    def synthesize(self, batch: Sequence[Line]) -> list[Speech]:
        """The fragments again; the speed is ignored, there is nothing to fit."""
        return self._work(self._say, batch)

    def _say(self, line: Line) -> Speech:
        samples = self._booth.find(line.text)
        if self._tone:
            phase = np.arange(len(samples)) * (2 * np.pi * _TONE_HZ / ASR_SAMPLE_RATE_HZ)
            samples = (_TONE_LEVEL * np.sin(phase)).astype(np.float32)
        return Speech(samples, ASR_SAMPLE_RATE_HZ, in_place=True)
