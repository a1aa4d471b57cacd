"""Programmes, an STS and a separator that tests can predict to the sample."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import numpy as np

from livedub.audio.codec import decode_audio, encode_audio
from livedub.audio.pcm import PROGRAMME_RATE_HZ, Samples
from livedub.dubbing.config import DubbingConfig
from livedub.sts.contract import (
    AudioFormat,
    Dub,
    StageTimings,
    Status,
    StsPartial,
    StsRequest,
    StsResult,
    Transcript,
)
from livedub.timeline.clock import NS_PER_MS

RATE = PROGRAMME_RATE_HZ
SPEECH_HZ = 200.0
DUB_HZ = 600.0


def config(**changes: object) -> DubbingConfig:
    settings: dict[str, object] = {
        "stream_id": "test",
        "generation": 3,
        "source_language": "es",
        "target_language": "en",
        "delay_ns": 6_000 * NS_PER_MS,
        "separate": False,
        "sts_audio_format": AudioFormat.PCM_S16LE,
    }
    return DubbingConfig(**{**settings, **changes})  # type: ignore[arg-type]


def bursts(*spans_s: tuple[float, float], seconds: float, peak: float = 0.5) -> Samples:
    """Stereo programme: silence with a 200 Hz tone in the given spans."""
    t = np.arange(int(seconds * RATE)) / RATE
    mono = np.zeros(len(t), np.float32)
    for start, end in spans_s:
        inside = (t >= start) & (t < end)
        mono[inside] = peak * np.sin(2 * np.pi * SPEECH_HZ * t[inside])
    return np.stack([mono, mono], axis=1)


def chunks(programme: Samples, size: int = 4_800, position: int = 0) -> Iterator[tuple[int, Samples]]:
    for first in range(0, len(programme), size):
        yield position + first, programme[first : first + size]


def level(samples: Samples, frequency_hz: float) -> float:
    """Amplitude of one frequency in the samples' first channel."""
    mono = samples[:, 0] if samples.ndim > 1 else samples
    phase = np.exp(-2j * np.pi * frequency_hz * np.arange(len(mono)) / RATE)
    return float(2 * np.abs(np.mean(mono * phase)))


OnPartial = Callable[[StsPartial], Awaitable[None]]
Answer = Callable[[StsRequest], Awaitable[StsResult]]


def tone_result(
    request: StsRequest, *, rate_hz: int = 24_000, text: str = "hello", overflow_ms: int = 0
) -> StsResult:
    """A dub that sounds at 600 Hz wherever the request says that speech is."""
    count = (request.audio.duration_ms + overflow_ms) * rate_hz // 1_000
    n = np.arange(count)
    samples = 0.3 * np.sin(2 * np.pi * DUB_HZ * n / rate_hz)
    audible = np.zeros(count, bool)
    for span in request.speech:
        audible[span.start_ms * rate_hz // 1_000 : (span.end_ms + overflow_ms) * rate_hz // 1_000] = True
    audio = encode_audio(np.where(audible, samples, 0).astype(np.float32), rate_hz, request.audio.format)
    target = request.config.targets[0]
    return StsResult(
        fragment_id=request.fragment_id,
        status=Status.SUCCESS,
        transcript=Transcript(text="hola", language="es"),
        dubs=(Dub(language=target.language, translated_text=text, audio=audio),),
        stage_timings=StageTimings(asr_ms=1),
    )


class ScriptedSts:
    """Answers each request by the script's entry for its number, else with a tone."""

    def __init__(self, script: dict[int, Answer] | None = None) -> None:
        self.script = script or {}
        self.requests: list[StsRequest] = []
        self.listeners: list[OnPartial | None] = []
        self.concurrent = self.most_concurrent = 0

    async def process(self, request: StsRequest, on_partial: OnPartial | None = None) -> StsResult:
        self.requests.append(request)
        self.listeners.append(on_partial)
        self.concurrent += 1
        self.most_concurrent = max(self.most_concurrent, self.concurrent)
        try:
            answer = self.script.get(request.sequence_number)
            if answer is None:
                await asyncio.sleep(0)
                return tone_result(request)
            return await answer(request)
        finally:
            self.concurrent -= 1

    def heard(self, number: int) -> Samples:
        return decode_audio(self.requests[number].audio)


class DelayedCopySeparator:
    """Calls everything speech, 30 ms late, in frames of 480, as the real one does with its frames."""

    def __init__(self) -> None:
        self._pending = np.zeros(self.delay_samples, np.float32)

    @property
    def delay_samples(self) -> int:
        return 1_440

    def process(self, mono: Samples) -> Samples:
        self._pending = np.concatenate((self._pending, mono))
        whole = max(0, len(self._pending) - self.delay_samples) // 480 * 480
        out, self._pending = self._pending[:whole], self._pending[whole:]
        return out.astype(np.float32)

    def close(self) -> None:
        self._pending = np.zeros(0, np.float32)
