"""Engines by name. A factory is imported only when its engine is chosen, so a missing library hurts nobody else."""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass
from typing import Any

from gpu_handler.engines.base import Engine, EngineInfo, SpeechDetector, Synthesizer, Transcriber, Translator
from gpu_handler.engines.mock import (
    MockBooth,
    MockDetector,
    MockSynthesizer,
    MockTranscriber,
    MockTranslator,
)
from gpu_handler.settings import StsSettings
from livedub.errors import ConfigurationError
from livedub.sts.contract import SPEAKING_MODEL

MOCK = "mock"

TRANSCRIBERS = {"whisper": "gpu_handler.engines.whisper:WhisperTranscriber"}
TRANSLATORS = {
    "whisper": "gpu_handler.engines.apertium:ApertiumTranslator",
    "apertium": "gpu_handler.engines.apertium:ApertiumTranslator",
    "ctranslate2": "gpu_handler.engines.ctranslate:CTranslateTranslator",
    "marian": "gpu_handler.engines.marian:MarianTranslator",
    "m2m100": "gpu_handler.engines.m2m100:M2M100Translator",
    "nllb": "gpu_handler.engines.m2m100:NllbTranslator",
}
SYNTHESIZERS = {
    "kokoro": "gpu_handler.engines.kokoro:KokoroSynthesizer",
    "espeak": "gpu_handler.engines.espeak:EspeakSynthesizer",
    "coqui": "gpu_handler.engines.coqui:VitsSynthesizer",
    "xtts": "gpu_handler.engines.xtts:XttsSynthesizer",
}
DETECTOR = "gpu_handler.engines.vad:SileroDetector"

_PROFILES = {
    "cpu": {"transcriber": "whisper", "translator": "whisper", "synthesizer": "kokoro"},
    "gpu": {"transcriber": "whisper", "translator": "ctranslate2", "synthesizer": "kokoro"},
    "mock": {"transcriber": MOCK, "translator": MOCK, "synthesizer": MOCK},
}


@dataclass(frozen=True, slots=True)
class Engines:
    """One engine per task.

    `speech_translation`: take the translation that the recogniser decodes from speech where it has one; it has
    heard the speaker, a text translator has only the transcript.
    """

    detector: SpeechDetector
    transcriber: Transcriber
    translator: Translator
    synthesizer: Synthesizer
    speech_translation: bool = True

    @property
    def every(self) -> tuple[Engine, ...]:
        """All of them, in the order of the work."""
        return self.detector, self.transcriber, self.translator, self.synthesizer

    def infos(self) -> dict[str, EngineInfo]:
        """Each task's engine."""
        return {
            "detector": self.detector.info,
            "transcriber": self.transcriber.info,
            "translator": self.translator.info,
            SPEAKING_MODEL: self.synthesizer.info,
        }


def build_engines(settings: StsSettings) -> Engines:
    """The engines that the settings name, not yet loaded.

    Raises:
        ConfigurationError: an engine is not in the registry.
    """
    profile = _PROFILES[settings.profile]
    transcriber = settings.transcriber or profile["transcriber"]
    translator = settings.translator or profile["translator"]
    synthesizer = settings.synthesizer or profile["synthesizer"]
    if synthesizer == MOCK and transcriber != MOCK:
        raise ConfigurationError(
            "STS_SYNTHESIZER=mock plays what the mock recogniser kept.",
            remedy="Set STS_TRANSCRIBER=mock too.",
        )
    booth = MockBooth()
    return Engines(
        detector=MockDetector(settings) if transcriber == MOCK else _create("detector", DETECTOR, settings),
        transcriber=MockTranscriber(booth, settings)
        if transcriber == MOCK
        else _engine("transcriber", transcriber, TRANSCRIBERS, settings),
        translator=MockTranslator(settings)
        if translator == MOCK
        else _engine("translator", translator, TRANSLATORS, settings),
        synthesizer=MockSynthesizer(booth, settings)
        if synthesizer == MOCK
        else _engine("synthesizer", synthesizer, SYNTHESIZERS, settings),
        speech_translation=translator == "whisper",
    )


def _engine(task: str, name: str, known: dict[str, str], settings: StsSettings) -> Any:
    try:
        path = known[name]
    except KeyError:
        choices = ", ".join([*sorted(known), MOCK])
        raise ConfigurationError(
            f"STS_{task.upper()}: there is no {task} called {name!r}.", remedy=f"Choose one of: {choices}."
        ) from None
    return _create(task, path, settings)


def _create(task: str, path: str, settings: StsSettings) -> Any:
    try:
        factory = pkgutil.resolve_name(path)
    except ImportError as error:
        raise ConfigurationError(
            f"the {task} needs a library that is not installed: {error}.",
            remedy="Install the `sts-cpu` extra.",
        ) from error
    return factory(settings)
