"""Requests for tests of the pipeline and its stages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import numpy as np

from livedub.audio.codec import encode_audio
from livedub.sts.contract import Audio, AudioFormat, SpeechSpan, StsConfig, StsRequest

RATE_HZ = 16_000
BOUND_S = 10.0


async def eventually(condition: Callable[[], bool]) -> None:
    """Let the event loop run until something is true."""
    give_up_s = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < give_up_s, "it never came true"
        await asyncio.sleep(0.001)


def clip(milliseconds: int = 2_000, audio_format: AudioFormat = AudioFormat.FLAC) -> Audio:
    time_s = np.arange(RATE_HZ * milliseconds // 1000) / RATE_HZ
    return encode_audio((0.3 * np.sin(2 * np.pi * 220 * time_s)).astype(np.float32), RATE_HZ, audio_format)


def request(
    number: int = 1,
    *targets: str,
    stream: str = "stream",
    source: str = "es",
    audio: Audio | None = None,
    deadline_ms: int = 10_000,
    speech: tuple[SpeechSpan, ...] = (),
    **config: object,
) -> StsRequest:
    return StsRequest(
        fragment_id=f"{stream}/1/{number}",
        stream_id=stream,
        generation=1,
        sequence_number=number,
        deadline_ms=deadline_ms,
        audio=audio or clip(),
        speech=speech,
        config=StsConfig.model_validate(
            {
                "source_language": source,
                "targets": [{"language": target} for target in targets or ("en",)],
                **config,
            }
        ),
    )
