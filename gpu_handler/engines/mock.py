"""Deterministic stand-ins for every engine: no models, no randomness, the same answer for the same fragment.

The mock says the fragment's own audio again (or a tone of its length), so a test can follow every sample through
a whole system. Recogniser and voice share a booth: the recogniser keeps the audio under a name derived from it,
the "transcript" carries that name, and the voice plays what is kept there.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence

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
from gpu_handler.settings import StsSettings
from livedub.audio.pcm import rms_dbfs

_LANGUAGES = ("de", "en", "es", "fr", "it", "pt")
_KEPT = 64
_NAME = re.compile(r"\b[0-9a-f]{12}\b")
_TONE_HZ = 440.0
_TONE_LEVEL = 0.2
_SILENCE_DBFS = -60.0
_INFO = EngineInfo("mock", "mock", "none")


class _MockEngine:
    @property
    def info(self) -> EngineInfo:
        """The mock has no model."""
        return _INFO

    def load(self) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """Nothing to free."""


class MockBooth:
    """The newest fragments' audio by name; shared by the mock recogniser and the mock voice."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Samples] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, samples: Samples) -> str:
        """Remember 16 kHz samples; the name is a digest of them."""
        name = hashlib.sha256(samples.tobytes()).hexdigest()[:12]
        with self._lock:
            self._kept[name] = samples
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return name

    def find(self, text: str) -> Samples:
        """The audio whose name stands in `text`; half a second of silence when there is none."""
        match = _NAME.search(text)
        with self._lock:
            kept = self._kept.get(match.group()) if match else None
        return np.zeros(ASR_SAMPLE_RATE_HZ // 2, dtype=np.float32) if kept is None else kept


class MockDetector(_MockEngine):
    """All of a fragment is speech unless it is silent."""

    def spans(self, samples: Samples) -> tuple[tuple[int, int], ...]:
        """One span over the whole fragment, none where it is quieter than -60 dBFS."""
        if samples.size == 0 or rms_dbfs(samples) < _SILENCE_DBFS:
            return ()
        return ((0, len(samples) * 1000 // ASR_SAMPLE_RATE_HZ),)


class MockTranscriber(_MockEngine):
    """Hears `mock fragment <name>` after the configured delay."""

    def __init__(self, booth: MockBooth, settings: StsSettings) -> None:
        self._booth = booth
        self._delay_s = settings.mock_delay_ms / 1000

    def languages(self) -> frozenset[str]:
        """The languages the mock pretends to know."""
        return frozenset(_LANGUAGES)

    def translation_targets(self) -> frozenset[str]:
        """None: text is for the translator."""
        return frozenset()

    def transcribe(self, batch: Sequence[Utterance]) -> list[Recognition]:
        """Name each fragment; "auto" detects Spanish."""
        time.sleep(self._delay_s)
        return [self._hear(utterance.samples, utterance.language) for utterance in batch]

    def _hear(self, samples: Samples, language: str) -> Recognition:
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

    def pairs(self) -> frozenset[tuple[str, str]]:
        """Each language to every other."""
        return frozenset((a, b) for a in _LANGUAGES for b in _LANGUAGES if a != b)

    @property
    def shortens(self) -> bool:
        """The mock changes no text."""
        return False

    def translate(self, batch: Sequence[Sentence]) -> list[Translation]:
        """Each text as it is."""
        for sentence in batch:
            if (sentence.source, sentence.target) not in self.pairs():
                raise KeyError((sentence.source, sentence.target))
        return [Translation(sentence.text) for sentence in batch]


class MockSynthesizer(_MockEngine):
    """Plays the fragment's own audio in its own place, or a tone over the whole of it."""

    def __init__(self, booth: MockBooth, settings: StsSettings) -> None:
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
        return [self._say(line.text) for line in batch]

    def _say(self, text: str) -> Speech:
        samples = self._booth.find(text)
        if self._tone:
            phase = np.arange(len(samples)) * (2 * np.pi * _TONE_HZ / ASR_SAMPLE_RATE_HZ)
            samples = (_TONE_LEVEL * np.sin(phase)).astype(np.float32)
        return Speech(samples, ASR_SAMPLE_RATE_HZ, in_place=True)
