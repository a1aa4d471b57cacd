"""Requests and answers the STS tests share."""

from __future__ import annotations

import numpy as np

from livedub.audio.codec import encode_audio
from livedub.sts.contract import (
    Audio,
    AudioFormat,
    Dub,
    ErrorCode,
    PartialKind,
    Stage,
    Status,
    StsConfig,
    StsError,
    StsPartial,
    StsRequest,
    StsResult,
    Target,
    Transcript,
)


def tone(duration_ms: int, rate_hz: int = 16_000, audio_format: AudioFormat = AudioFormat.PCM_S16LE) -> Audio:
    t = np.arange(duration_ms * rate_hz // 1000) / rate_hz
    return encode_audio((0.3 * np.sin(2 * np.pi * 440 * t)).astype(np.float32), rate_hz, audio_format)


def request(
    *,
    sequence_number: int = 7,
    deadline_ms: int = 2_000,
    duration_ms: int = 100,
    targets: tuple[str, ...] = ("en",),
    max_overflow_ms: int = 0,
) -> StsRequest:
    return StsRequest(
        fragment_id=f"stadium/3/{sequence_number}",
        stream_id="stadium",
        generation=3,
        sequence_number=sequence_number,
        deadline_ms=deadline_ms,
        audio=tone(duration_ms),
        config=StsConfig(
            source_language="es",
            targets=tuple(Target(language=language) for language in targets),
            max_overflow_ms=max_overflow_ms,
        ),
    )


def dub(language: str = "en", duration_ms: int = 100) -> Dub:
    return Dub(language=language, translated_text="Good evening.", audio=tone(duration_ms, 24_000))


def success(*dubs: Dub, fragment_id: str = "stadium/3/7", text: str = "Buenas noches.") -> StsResult:
    return StsResult(
        fragment_id=fragment_id,
        status=Status.SUCCESS,
        transcript=Transcript(text=text, language="es"),
        dubs=dubs or (dub(),),
    )


def text_partial(*languages: str, fragment_id: str = "stadium/3/7") -> StsPartial:
    return StsPartial(
        kind=PartialKind.TEXT,
        fragment_id=fragment_id,
        transcript=Transcript(text="Buenas noches.", language="es"),
        dubs=tuple(
            Dub(language=language, translated_text="Good evening.") for language in languages or ("en",)
        ),
    )


def audio_partial(*languages: str, duration_ms: int = 100, fragment_id: str = "stadium/3/7") -> StsPartial:
    return StsPartial(
        kind=PartialKind.AUDIO,
        fragment_id=fragment_id,
        dubs=tuple(dub(language, duration_ms) for language in languages or ("en",)),
    )


def failure(
    code: ErrorCode, *, retryable: bool = False, fragment_id: str = "stadium/3/7", stage: Stage = Stage.TTS
) -> StsResult:
    return StsResult(
        fragment_id=fragment_id,
        status=Status.ERROR,
        error=StsError(stage=stage, code=code, message="it broke", retryable=retryable),
    )
