"""FLV tags for RTMP: packing what leaves, reading what arrives.

Source: Adobe Flash Video File Format Specification 10.1, annex E. The muxer that GStreamer offers rebases
timestamps to zero, so a worker that replaces a dead one would reset the stream's time; packing a tag is a few bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

NS_PER_MS = 1_000_000

FILE_HEADER = b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00"
_TAG_HEADER_BYTES = 11
_PREVIOUS_TAG_SIZE_BYTES = 4
_UINT32 = 0xFFFFFFFF

AVC_KEYFRAME = 0x17
AVC_INTERFRAME = 0x27
AVC_SEQUENCE_HEADER = 0
AVC_NAL_UNITS = 1
# SoundFormat 10 (AAC); for AAC the rate, size and channel bits are fixed to 44 kHz, 16 bit, stereo (E.4.2.1).
_AAC = 0xAF
AAC_SEQUENCE_HEADER = 0
AAC_RAW = 1

ENHANCED_VIDEO = 0x80
VIDEO_CODECS = {
    1: "JPEG",
    2: "Sorenson H.263",
    3: "Screen video",
    4: "VP6",
    5: "VP6 alpha",
    6: "Screen video 2",
}
VIDEO_CODECS |= {7: "H.264", 12: "H.265"}
AUDIO_CODECS = {0: "PCM", 1: "ADPCM", 2: "MP3", 3: "PCM", 4: "Nellymoser", 5: "Nellymoser", 6: "Nellymoser"}
AUDIO_CODECS |= {7: "G.711 A-law", 8: "G.711 mu-law", 10: "AAC", 11: "Speex", 13: "Opus", 14: "MP3"}


class TagType(IntEnum):
    """TagType of an FLV tag, the same number as an RTMP message type."""

    AUDIO = 8
    VIDEO = 9
    SCRIPT = 18


@dataclass(frozen=True, slots=True)
class FlvTag:
    """A tag as it arrived; `timestamp_ms` counts modulo 2^32."""

    tag_type: int
    timestamp_ms: int
    body: bytes


def to_timestamp_ms(time_ns: int) -> int:
    """Nearest millisecond, halves up: the resolution FLV has."""
    return (time_ns + NS_PER_MS // 2) // NS_PER_MS


def pack_tag(tag_type: TagType, timestamp_ms: int, body: bytes) -> bytes:
    """One tag with its PreviousTagSize; `timestamp_ms` wraps at 32 bits (24 low bits, then 8 extended)."""
    stamp = timestamp_ms & _UINT32
    header = struct.pack(
        ">BBHHBBBH",
        tag_type,
        len(body) >> 16,
        len(body) & 0xFFFF,
        (stamp >> 8) & 0xFFFF,
        stamp & 0xFF,
        stamp >> 24,
        0,
        0,
    )
    return b"".join((header, body, struct.pack(">I", _TAG_HEADER_BYTES + len(body))))


def pack_video_header(codec_data: bytes, timestamp_ms: int) -> bytes:
    """The AVC sequence header: parameter sets for the access units that follow."""
    return pack_tag(
        TagType.VIDEO, timestamp_ms, bytes((AVC_KEYFRAME, AVC_SEQUENCE_HEADER, 0, 0, 0)) + codec_data
    )


def pack_video(data: bytes, *, keyframe: bool, timestamp_ms: int, composition_ms: int) -> bytes:
    """One access unit; `composition_ms` is PTS - DTS, signed 24 bits."""
    head = struct.pack(
        ">I",
        ((AVC_KEYFRAME if keyframe else AVC_INTERFRAME) << 24)
        | (AVC_NAL_UNITS << 16)
        | ((composition_ms >> 8) & 0xFFFF),
    )
    return pack_tag(TagType.VIDEO, timestamp_ms, b"".join((head, bytes((composition_ms & 0xFF,)), data)))


def pack_audio_header(codec_data: bytes, timestamp_ms: int) -> bytes:
    """The AAC sequence header: the AudioSpecificConfig of the frames that follow."""
    return pack_tag(TagType.AUDIO, timestamp_ms, bytes((_AAC, AAC_SEQUENCE_HEADER)) + codec_data)


def pack_audio(data: bytes, timestamp_ms: int) -> bytes:
    """One raw AAC frame."""
    return pack_tag(TagType.AUDIO, timestamp_ms, bytes((_AAC, AAC_RAW)) + data)


def pack_metadata(values: dict[str, float | bool | str], timestamp_ms: int) -> bytes:
    """An onMetaData script tag: AMF0 string, then an ECMA array (E.4.4)."""
    items = b"".join(_amf_key(key) + _amf_value(value) for key, value in values.items())
    array = b"\x08" + struct.pack(">I", len(values)) + items + b"\x00\x00\x09"
    return pack_tag(TagType.SCRIPT, timestamp_ms, _amf_value("onMetaData") + array)


def _amf_key(key: str) -> bytes:
    raw = key.encode()
    return struct.pack(">H", len(raw)) + raw


def _amf_value(value: float | bool | str) -> bytes:  # noqa: FBT001 - AMF0 has a boolean type
    if isinstance(value, bool):
        return bytes((1, value))
    if isinstance(value, str):
        return b"\x02" + _amf_key(value)
    return b"\x00" + struct.pack(">d", value)


def read_tags(data: bytes) -> Iterator[FlvTag]:
    """The whole tags in `data`, which may start with a file header; what is cut short is left out."""
    position = len(FILE_HEADER) if data.startswith(b"FLV") else 0
    while position + _TAG_HEADER_BYTES <= len(data):
        body_bytes = int.from_bytes(data[position + 1 : position + 4], "big")
        stamp = data[position + 7] << 24 | int.from_bytes(data[position + 4 : position + 7], "big")
        start = position + _TAG_HEADER_BYTES
        if start + body_bytes > len(data):
            return
        yield FlvTag(data[position] & 0x1F, stamp, data[start : start + body_bytes])
        position = start + body_bytes + _PREVIOUS_TAG_SIZE_BYTES
