"""NAL units of H.264 access units (ITU-T H.264 clause 7.3.1 and Annex B; ISO/IEC 14496-15 clause 5.3)."""

from __future__ import annotations

from hashlib import blake2b
from itertools import pairwise

_TYPE_MASK = 0x1F
_DIGEST_BYTES = 12
_START_CODE = b"\x00\x00\x01"

CARRIAGE_TYPES = frozenset({7, 8, 9, 13, 15})
"""Parameter sets (SPS, PPS, SPS extension, subset SPS) and access unit delimiters.

Containers store these where they like (in band, out of band, repeated before each keyframe), so they say nothing
about whether the pictures are untouched.
"""


def length_size(extradata: bytes | None) -> int | None:
    """Bytes of the length before each NAL unit, or None where the stream is in Annex B byte-stream format.

    `extradata` is an AVCDecoderConfigurationRecord when its first byte (configurationVersion) is 1.
    """
    if extradata is None or len(extradata) < 7 or extradata[0] != 1:
        return None
    return (extradata[4] & 0x03) + 1


def split(payload: bytes, prefix_bytes: int | None) -> list[bytes]:
    """The NAL units of one access unit, without prefixes or start codes.

    A length that points past the payload ends the list: what follows cannot be told apart.
    """
    if prefix_bytes is None:
        return _split_byte_stream(payload)
    units: list[bytes] = []
    position = 0
    while position + prefix_bytes <= len(payload):
        size = int.from_bytes(payload[position : position + prefix_bytes], "big")
        position += prefix_bytes
        if size:
            units.append(payload[position : position + size])
        position += size
    return units


def picture_digests(units: list[bytes]) -> tuple[bytes, ...]:
    """Hashes, in order, of every NAL unit that is part of the coded picture (slices, SEI, filler, ...)."""
    return tuple(
        blake2b(unit, digest_size=_DIGEST_BYTES).digest()
        for unit in units
        if unit[0] & _TYPE_MASK not in CARRIAGE_TYPES
    )


def _split_byte_stream(payload: bytes) -> list[bytes]:
    starts: list[int] = []
    position = payload.find(_START_CODE)
    while position >= 0:
        starts.append(position)
        position = payload.find(_START_CODE, position + len(_START_CODE))
    bounds = [*starts, len(payload)]
    # A NAL unit never ends in 0x00 (7.4.1.1): trailing zeros belong to the next start code.
    units = (payload[begin + len(_START_CODE) : end].rstrip(b"\x00") for begin, end in pairwise(bounds))
    return [unit for unit in units if unit]
