"""Audio of a request as the recogniser wants it, with everything checked that a caller can get wrong."""

from __future__ import annotations

import numpy as np

from gpu_handler.engines.base import ASR_SAMPLE_RATE_HZ, Samples
from livedub.audio.codec import decode_audio
from livedub.audio.resample import resample
from livedub.errors import InvalidInputError
from livedub.sts.contract import Audio

_TOLERANCE_MS = 20
"""How far the declared duration may be off: one AAC frame at 48 kHz, rounded."""
_LONG_PAST_MS = 900
"""Decoding stops a second past the declared duration: what came this far may go on."""


class DurationMismatchError(InvalidInputError):
    """The audio is not as long as the request says: its dub would be out of sync."""


def read_audio(audio: Audio) -> Samples:
    """Mono 16 kHz samples.

    Raises:
        InvalidInputError: broken base64, broken encoding, another rate than declared, no samples.
        DurationMismatchError: decodes to another duration than declared.
    """
    samples = decode_audio(audio)
    if samples.size == 0:
        raise InvalidInputError("audio.data_base64 holds no samples.", remedy="Send the fragment's audio.")
    actual_ms = len(samples) * 1000 / audio.sample_rate_hz
    if abs(actual_ms - audio.duration_ms) > _TOLERANCE_MS:
        raise DurationMismatchError(
            f"audio.duration_ms says {audio.duration_ms} but the data holds {actual_ms:.0f} ms"
            f"{' and more' if actual_ms > audio.duration_ms + _LONG_PAST_MS else ''}.",
            remedy="Declare the duration, rate and channels of what is sent.",
        )
    return resample(np.ascontiguousarray(samples), audio.sample_rate_hz, ASR_SAMPLE_RATE_HZ)
