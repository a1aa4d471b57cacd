"""Speech detection by Silero VAD, the ONNX model that ships inside faster-whisper (MIT)."""

from __future__ import annotations

import threading

import numpy as np
from faster_whisper.vad import VadOptions, get_speech_timestamps

from gpu_handler.engines.base import ASR_SAMPLE_RATE_HZ, EngineInfo, Samples
from gpu_handler.settings import StsSettings

_SAMPLES_PER_MS = ASR_SAMPLE_RATE_HZ // 1000
_OPTIONS = VadOptions(
    threshold=0.5, min_speech_duration_ms=120, min_silence_duration_ms=200, speech_pad_ms=30
)


class SileroDetector:
    """Neural speech detection; about 2 ms per second of audio on one core."""

    def __init__(self, settings: StsSettings) -> None:
        del settings  # one small model, always on one thread
        self._lock = threading.Lock()

    @property
    def info(self) -> EngineInfo:
        """Name, model and licence."""
        return EngineInfo("silero", "silero-vad-v6", "MIT")

    def load(self) -> None:
        """Load the model by running it once."""
        self.spans(np.zeros(ASR_SAMPLE_RATE_HZ, dtype=np.float32))

    def close(self) -> None:
        """Nothing to free: the model is cached by its library."""

    def spans(self, samples: Samples) -> tuple[tuple[int, int], ...]:
        """Stretches of speech as (start, end) milliseconds."""
        if samples.size == 0:
            return ()
        with self._lock:
            found = get_speech_timestamps(samples, _OPTIONS, ASR_SAMPLE_RATE_HZ)
        return tuple((span["start"] // _SAMPLES_PER_MS, span["end"] // _SAMPLES_PER_MS) for span in found)
