"""FLV tags (Adobe Flash Video File Format Specification 10.1, annex E): write them, and read what a tag carries.

An RTMP audio, video or data message is the body of one FLV tag, and its timestamp is the tag's: a recording made
of them byte by byte keeps what was on the wire, which no remuxer promises.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Literal

from livedub.errors import InvalidInputError

AUDIO_TAG = 8
VIDEO_TAG = 9
SCRIPT_TAG = 18

_NS_PER_MS = 1_000_000
_HAS_AUDIO_AND_VIDEO = 0x05
_AAC = 10
_AVC = 7
_RAW = 1
_ENHANCED_VIDEO = 0x80


@dataclass(frozen=True, slots=True)
class MediaPacket:
    """One coded picture or AAC frame; `payload` is what a demuxer hands out (AVCC NAL units, raw AAC)."""

    kind: Literal["video", "audio"]
    pts_ns: int
    dts_ns: int
    payload: bytes


def write_header(file: BinaryIO) -> None:
    """Write the file header and the first PreviousTagSize."""
    file.write(b"FLV\x01" + bytes([_HAS_AUDIO_AND_VIDEO]) + (9).to_bytes(4, "big") + bytes(4))


def write_tag(file: BinaryIO, tag_type: int, timestamp_ms: int, body: bytes) -> None:
    """Write one tag; `timestamp_ms` counts modulo 2^32 as RTMP's does."""
    stamp = timestamp_ms & 0xFFFFFFFF
    header = (
        bytes([tag_type])
        + len(body).to_bytes(3, "big")
        + (stamp & 0xFFFFFF).to_bytes(3, "big")
        + bytes([stamp >> 24])
        + bytes(3)
    )
    file.write(header + body + (len(header) + len(body)).to_bytes(4, "big"))


def media_packet(tag_type: int, timestamp_ms: int, body: bytes) -> MediaPacket | None:
    """Return the media a tag carries; None for sequence headers, end of sequence and script data.

    Raises:
        InvalidInputError: a codec other than H.264 and AAC; nothing here could tell its packets' times.
    """
    if tag_type == VIDEO_TAG and len(body) >= 5:
        return _video(timestamp_ms, body)
    if tag_type == AUDIO_TAG and len(body) >= 2:
        return _audio(timestamp_ms, body)
    return None


def _video(timestamp_ms: int, body: bytes) -> MediaPacket | None:
    if body[0] & _ENHANCED_VIDEO or body[0] & 0x0F != _AVC:
        raise InvalidInputError(
            f"Video codec 0x{body[0]:02x} in the stream is not H.264.", remedy="Publish H.264 video."
        )
    if body[1] != _RAW:
        return None
    composition_ms = int.from_bytes(body[2:5], "big", signed=True)
    dts_ns = timestamp_ms * _NS_PER_MS
    return MediaPacket("video", dts_ns + composition_ms * _NS_PER_MS, dts_ns, body[5:])


def _audio(timestamp_ms: int, body: bytes) -> MediaPacket | None:
    if body[0] >> 4 != _AAC:
        raise InvalidInputError(
            f"Audio codec {body[0] >> 4} in the stream is not AAC.", remedy="Publish AAC audio."
        )
    if body[1] != _RAW:
        return None
    stamp_ns = timestamp_ms * _NS_PER_MS
    return MediaPacket("audio", stamp_ns, stamp_ns, body[2:])
