"""Whether a file ends before its own headers say it does. What cannot be known is taken for whole.

MP4, Matroska, WAV, AVI, FLV, WMV and most MP3 files say how long they are in bytes, each in its way, FLAC in samples. AAC
and Ogg are whole wherever they are cut.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Mapping
from typing import BinaryIO

_SIGNATURES = frozenset({b"\x1aE\xdf\xa3", b"RIFF", b"fLaC", b"FLV\x01", b"\x30\x26\xb2\x75"})
_MAX_BOXES = 10_000
_BOX_HEADER_BYTES = 8
_MATROSKA_SEGMENT = 0x18538067
_FLV_TAGS = frozenset({8, 9, 18})
"""Sound, picture, data."""
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_HEAD_BYTES = 64 * 1024
_TAIL_BYTES = 128 * 1024
_FLAC_STREAMINFO_BYTES = 42
_MP3_FRAME_BYTES = 1_500
"""More than a frame; also what may be missing at the end, where another program wrote a tag."""
_UNKNOWN_RIFF_SIZES = frozenset({0, 0xFFFFFFFF})
"""What is written for want of a better number where the file was a pipe."""


def why_cut_short(file: BinaryIO, size_bytes: int, container: str) -> str:
    """Say what is missing, in a few words; "" where nothing is known to be.

    Args:
        file: its bytes, with random access.
        size_bytes: how many they are.
        container: what FFmpeg calls the format, such as `mov,mp4,m4a,3gp,3g2,mj2`.
    """
    look = _LOOKS.get(container)
    try:
        return look(file, size_bytes) if look is not None else ""
    except struct.error:
        return "a header is incomplete"


def begins_like_media(file: BinaryIO, size_bytes: int) -> bool:
    """Whether it begins like a format that needs an index or headers to be opened."""
    file.seek(0)
    head = file.read(min(size_bytes, 12))
    return head[4:8] == b"ftyp" or head[:4] in _SIGNATURES


def _boxes(file: BinaryIO, size_bytes: int) -> str:
    """ISO 14496-12: boxes of size and type, one behind the other.

    Recorded in fragments (`moof`), a file is good up to the last whole one.
    """
    position = 0
    for _ in range(_MAX_BOXES):
        if position + _BOX_HEADER_BYTES > size_bytes:
            # What is too short for a box is somebody's padding.
            return ""
        file.seek(position)
        length, kind = struct.unpack(">I4s", file.read(_BOX_HEADER_BYTES))
        if kind == b"moof" or length == 0:
            return ""
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8))
        if length < _BOX_HEADER_BYTES:
            return ""
        position += length
        if position > size_bytes:
            return f"{position - size_bytes} bytes of its {kind.decode('latin-1')} box are missing"
    return ""


def _riff(file: BinaryIO, size_bytes: int) -> str:
    file.seek(4)
    (length,) = struct.unpack("<I", file.read(4))
    missing = length + 8 - size_bytes
    # Some writers forget the byte that pads an odd length.
    return f"{missing} bytes are missing" if length not in _UNKNOWN_RIFF_SIZES and missing > 1 else ""


def _matroska(file: BinaryIO, size_bytes: int) -> str:
    """RFC 8794: elements of id, length and content. Behind the EBML header lies the segment, which holds the rest."""
    position = 0
    while position < size_bytes:
        file.seek(position)
        element, id_bytes = _number(file, keep_marker=True)
        length, length_bytes = _number(file, keep_marker=False)
        if length == (1 << (7 * length_bytes)) - 1:
            return ""
        position += id_bytes + length_bytes + length
        if element == _MATROSKA_SEGMENT:
            break
    return f"{position - size_bytes} bytes are missing" if position > size_bytes else ""


def _number(file: BinaryIO, *, keep_marker: bool) -> tuple[int, int]:
    """A number of variable length, and how many bytes it takes."""
    first = file.read(1)
    if not first or first[0] == 0:
        raise struct.error
    length = 9 - first[0].bit_length()
    rest = file.read(length - 1)
    if len(rest) != length - 1:
        raise struct.error
    value = int.from_bytes(first + rest, "big")
    return (value if keep_marker else value & ~(1 << (7 * length))), length


def _flv(file: BinaryIO, size_bytes: int) -> str:
    """Each tag is followed by its length, the last one too."""
    file.seek(max(0, size_bytes - 4))
    (length,) = struct.unpack(">I", file.read(4))
    start = size_bytes - 4 - length
    if length >= 11 and start >= 9:
        file.seek(start)
        kind, high, low = struct.unpack(">BBH", file.read(4))
        if kind & 0x1F in _FLV_TAGS and (high << 16 | low) == length - 11:
            return ""
    return "its last tag is incomplete"


def _asf(file: BinaryIO, size_bytes: int) -> str:
    """The file properties object holds the length of the file, unless it was broadcast."""
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    place = head.find(_ASF_FILE_PROPERTIES)
    if place < 0:
        return ""
    (length,) = struct.unpack_from("<Q", head, place + 40)
    (flags,) = struct.unpack_from("<I", head, place + 88)
    broadcast = bool(flags & 1)
    return f"{length - size_bytes} bytes are missing" if length > size_bytes and not broadcast else ""


def _mp3(file: BinaryIO, size_bytes: int) -> str:
    """The first frame of most files holds the length of all, behind `Xing` or `Info`."""
    file.seek(0)
    head = file.read(10)
    start = 0
    if head[:3] == b"ID3" and len(head) == 10:
        # Seven bits a byte.
        start = 10 + sum(
            (byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True)
        )
    file.seek(start)
    frame = file.read(_MP3_FRAME_BYTES)
    place = max(frame.find(b"Xing"), frame.find(b"Info"))
    if place < 0:
        return ""
    (flags,) = struct.unpack_from(">I", frame, place + 4)
    if not flags & 2:
        return ""
    (length,) = struct.unpack_from(">I", frame, place + (12 if flags & 1 else 8))
    missing = start + length - size_bytes
    return f"{missing} bytes are missing" if missing > _MP3_FRAME_BYTES else ""


def _flac(file: BinaryIO, size_bytes: int) -> str:
    """RFC 9639: the file begins with the number of samples, and each frame with how many lie before it."""
    file.seek(0)
    head = file.read(_FLAC_STREAMINFO_BYTES)
    block, packed = struct.unpack_from(">H6xQ", head, 10)
    samples = packed & ((1 << 36) - 1)
    if not head.startswith(b"fLaC") or samples == 0:
        return ""
    start = max(0, size_bytes - _TAIL_BYTES)
    file.seek(start)
    tail = file.read(size_bytes - start)
    ends = [
        end
        for place in _flac_syncs(tail)
        if (end := _flac_frame_end(tail[place : place + 16], block)) is not None
    ]
    # Chance makes a header out of sound now and then, so what counts is the furthest.
    reached = max((end for end in ends if end <= samples + block), default=samples)
    return f"{samples - reached} samples are missing" if reached < samples else ""


def _flac_syncs(data: bytes) -> Generator[int]:
    place = data.find(b"\xff")
    while place >= 0:
        if data[place + 1 : place + 2] in {b"\xf8", b"\xf9"}:
            yield place
        place = data.find(b"\xff", place + 1)


def _flac_frame_end(header: bytes, block: int) -> int | None:
    """The number of samples up to the end of the frame that begins with these bytes; None where it is no frame."""
    if len(header) < 16 or header[3] & 1:
        return None
    number, place = _flac_number(header)
    if number is None:
        return None
    size_code, rate_code = header[2] >> 4, header[2] & 15
    sizes = {1: 192, 6: header[place] + 1, 7: (header[place] << 8 | header[place + 1]) + 1}
    sizes |= {code: 576 << (code - 2) for code in range(2, 6)} | {
        code: 256 << (code - 8) for code in range(8, 16)
    }
    place += {6: 1, 7: 2}.get(size_code, 0) + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if size_code not in sizes or _crc8(header[:place]) != header[place]:
        return None
    counts_samples = header[1] & 1
    return (number if counts_samples else number * block) + sizes[size_code]


def _flac_number(header: bytes) -> tuple[int | None, int]:
    """A number coded as UTF-8 codes a character, but up to 36 bits of it; and the place behind it."""
    first = header[4]
    ones = 8 - (first ^ 0xFF).bit_length()
    following = header[5 : 4 + ones] if ones else b""
    if ones in {1, 8} or any(byte >> 6 != 0b10 for byte in following):
        return None, 5
    value = first & (0x7F >> ones)
    for byte in following:
        value = value << 6 | (byte & 0x3F)
    return value, 5 + len(following)


def _crc8(data: bytes) -> int:
    """Polynomial x^8 + x^2 + x + 1."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc


_LOOKS: Mapping[str, Callable[[BinaryIO, int], str]] = {
    "mov,mp4,m4a,3gp,3g2,mj2": _boxes,
    "matroska,webm": _matroska,
    "wav": _riff,
    "avi": _riff,
    "flv": _flv,
    "asf": _asf,
    "mp3": _mp3,
    "flac": _flac,
}
