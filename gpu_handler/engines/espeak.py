"""espeak-ng: formant speech in a hundred languages. The last resort: intelligible, instant, never pretty."""

from __future__ import annotations

import io
import shutil
import subprocess
import wave
from collections.abc import Sequence

import numpy as np

from gpu_handler.engines.base import EngineInfo, Line, Speech
from gpu_handler.engines.calibration import PaceCalibration
from gpu_handler.settings import StsSettings
from livedub.audio.pcm import float_from_s16
from livedub.errors import MissingPrerequisiteError

_VOICES = {
    "de": "de",
    "en": "en-us",
    "es": "es",
    "fr": "fr-fr",
    "it": "it",
    "nl": "nl",
    "pl": "pl",
    "pt": "pt-br",
}
_WORDS_PER_MINUTE = 165
_MIN_SPEED = 0.6
_MAX_SPEED = 2.0
_MS_PER_CHARACTER = 62.0
_TIMEOUT_S = 10.0


class EspeakSynthesizer:
    """One short process per utterance; any number may run at once."""

    def __init__(self, settings: StsSettings) -> None:
        del settings
        self._pace = PaceCalibration(_MS_PER_CHARACTER)

    @property
    def info(self) -> EngineInfo:
        """Name, model and licence."""
        return EngineInfo(
            "espeak", "espeak-ng", "GPL-3.0-or-later (separate process)", instant_estimates=True
        )

    def load(self) -> None:
        """Check that the program is there by speaking a word."""
        if shutil.which("espeak-ng") is None:
            raise MissingPrerequisiteError(
                "espeak-ng is not installed.", remedy="Run `make setup`, or install espeak-ng."
            )
        self.synthesize([Line("1", "en/espeak")])

    def close(self) -> None:
        """Nothing stays open between utterances."""

    def voices(self) -> dict[str, tuple[str, ...]]:
        """One voice per language."""
        return {language: (f"{language}/espeak",) for language in _VOICES}

    def natural_duration_ms(self, text: str, *, voice: str) -> int:
        """Estimated duration at speed 1, from the number of characters."""
        return self._pace.estimate_ms(voice, len(text))

    def synthesize(self, batch: Sequence[Line]) -> list[Speech]:
        """Speak one line after the other; the language is the voice id's first part."""
        return [self._speak(line) for line in batch]

    def _speak(self, line: Line) -> Speech:
        pace = float(np.clip(line.speed, _MIN_SPEED, _MAX_SPEED))
        command = ["espeak-ng", "-v", _VOICES[line.voice.split("/", 1)[0]], "--stdin", "--stdout"]
        command += ["-s", str(round(_WORDS_PER_MINUTE * pace))]
        done = subprocess.run(
            command, input=line.text.encode(), capture_output=True, check=True, timeout=_TIMEOUT_S
        )
        with wave.open(io.BytesIO(done.stdout)) as reader:
            rate_hz = reader.getframerate()
            # a streamed WAV does not know its length: read what follows the header
            samples = float_from_s16(reader.readframes(len(done.stdout)))
        self._pace.observe(line.voice, len(line.text), samples, rate_hz, pace)
        return Speech(samples, rate_hz, pace)
