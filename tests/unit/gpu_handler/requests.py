"""Requests for tests of the pipeline and its stages."""

from __future__ import annotations

import numpy as np

from livedub.audio.codec import encode_audio
from livedub.sts.contract import Audio, AudioFormat, SpeechSpan, StsConfig, StsRequest

RATE_HZ = 16_000


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
