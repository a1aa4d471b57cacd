"""Is wire audio what it claims to be? Checked without decoding, in about a millisecond, by both ends.

PCM tells its length by its size, FLAC by its STREAMINFO block (RFC 9639, section 8.2), so neither client nor
service hands on audio that is cut off, empty or of another rate than declared.
"""

from __future__ import annotations

import base64
import binascii

from livedub.errors import InvalidInputError
from livedub.sts.contract import Audio, AudioFormat, ErrorCode

DECLARED_TOLERANCE_MS = 20
"""How far `duration_ms` may lie from the true length: one AAC frame at 48 kHz, which containers round to."""

_BYTES_PER_SAMPLE = 2
_FLAC_MARKER = b"fLaC"
_STREAMINFO_TYPE = 0
_STREAMINFO_END_BYTES = len(_FLAC_MARKER) + 4 + 34


class AudioPayloadError(InvalidInputError):
    """Audio that contradicts its own description; `code` is the contract's error for it."""

    def __init__(self, message: str, *, code: ErrorCode, remedy: str) -> None:
        super().__init__(message, remedy=remedy)
        self.code = code


def check_payload(audio: Audio, *, field: str) -> None:
    """Check base64, format, rate, channels and length of `audio`; `field` names it in the message.

    Raises:
        AudioPayloadError: INVALID_INPUT for what cannot be read, DURATION_MISMATCH for a wrong length.
    """
    data = _decoded(audio, field)
    if audio.format is AudioFormat.FLAC:
        samples = _flac_samples(data, audio, field)
    else:
        samples = _pcm_samples(data, audio, field)
    actual_ms = samples * 1000 / audio.sample_rate_hz
    if abs(actual_ms - audio.duration_ms) > DECLARED_TOLERANCE_MS:
        raise AudioPayloadError(
            f"{field}.duration_ms says {audio.duration_ms} but the audio lasts {actual_ms:.0f} ms.",
            code=ErrorCode.DURATION_MISMATCH,
            remedy="Declare the true length and rate.",
        )


def _decoded(audio: Audio, field: str) -> bytes:
    try:
        return base64.b64decode(audio.data_base64, validate=True)
    except (binascii.Error, ValueError) as error:
        raise AudioPayloadError(
            f"{field}.data_base64 is not base64: {error}.",
            code=ErrorCode.INVALID_INPUT,
            remedy="Send standard base64 (RFC 4648, section 4) without line breaks.",
        ) from error


def _pcm_samples(data: bytes, audio: Audio, field: str) -> int:
    frame_bytes = _BYTES_PER_SAMPLE * audio.channels
    if len(data) % frame_bytes:
        raise AudioPayloadError(
            f"{field}.data_base64 holds {len(data)} bytes, not a multiple of {frame_bytes} "
            f"({audio.channels} channels of 16-bit samples).",
            code=ErrorCode.INVALID_INPUT,
            remedy="Send whole samples of every channel.",
        )
    return len(data) // frame_bytes


def _flac_samples(data: bytes, audio: Audio, field: str) -> int:
    if (
        len(data) <= _STREAMINFO_END_BYTES
        or not data.startswith(_FLAC_MARKER)
        or data[4] & 0x7F != _STREAMINFO_TYPE
    ):
        raise AudioPayloadError(
            f"{field}.data_base64 is not a FLAC stream.",
            code=ErrorCode.INVALID_INPUT,
            remedy="Send RFC 9639.",
        )
    # 20 bits rate, 3 bits channels - 1, 5 bits depth - 1, 36 bits samples, after two block and two frame sizes.
    packed = int.from_bytes(data[18:26], "big")
    rate_hz, channels, samples = packed >> 44, (packed >> 41 & 0x7) + 1, packed & (1 << 36) - 1
    if (rate_hz, channels) != (audio.sample_rate_hz, audio.channels):
        raise AudioPayloadError(
            f"{field} declares {audio.sample_rate_hz} Hz and {audio.channels} channels "
            f"but its FLAC has {rate_hz} Hz and {channels}.",
            code=ErrorCode.INVALID_INPUT,
            remedy="Declare the rate and channels of the encoded audio.",
        )
    # Zero means "unknown" (an encoder that could not seek back): the decoder will tell.
    return samples or round(audio.duration_ms * audio.sample_rate_hz / 1000)
