"""The little of H.264's byte stream that a cut needs: where units begin, which pictures start afresh, the parameter sets.

ITU-T H.264, 7.3.1, 7.4.1 and annex B; ISO/IEC 14496-15, 5.3.3 for `avcC`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_IDR = 5
_SPS = 7
_PPS = 8
_START = re.compile(rb"\x00\x00\x01")
_HIGHEST_SPS_ID = 31


def units(data: bytes, length_bytes: int = 0) -> Iterator[bytes]:
    """The units of an access unit: each behind its length in so many bytes, or with 0 between start codes."""
    if not length_bytes:
        starts = [found.end() for found in _START.finditer(data)]
        for start, end in zip(starts, [*starts[1:], len(data) + 3], strict=False):
            # The zeros before a start code belong to it; a unit never ends with one.
            yield data[start : end - 3].rstrip(b"\x00")
        return
    at = 0
    while at + length_bytes <= len(data):
        size = int.from_bytes(data[at : at + length_bytes], "big")
        yield data[at + length_bytes : at + length_bytes + size]
        at += length_bytes + size


def length_bytes_of(extradata: bytes | None) -> int:
    """How many bytes an access unit's lengths take, by the stream's `avcC`; 0 where it has start codes."""
    return (extradata[4] & 3) + 1 if extradata and len(extradata) > 4 and extradata[0] == 1 else 0


def begins_afresh(data: bytes, length_bytes: int = 0) -> bool:
    """Whether no picture from here on depends on one before (IDR); other key frames do not promise that."""
    return any(unit and unit[0] & 0x1F == _IDR for unit in units(data, length_bytes))


def parameter_sets(data: bytes) -> bytes:
    """The parameter sets within `data` (with start codes), again with start codes."""
    kept = (unit for unit in units(data) if unit and unit[0] & 0x1F in {_SPS, _PPS})
    return b"".join(b"\x00\x00\x00\x01" + unit for unit in kept)


def free_set_id(data: bytes) -> int:
    """An id that no sequence parameter set within `data` (with start codes) has; the highest one.

    Raises:
        ValueError: they have all of them.
    """
    taken = {_sps_id(unit) for unit in units(data) if len(unit) > 4 and unit[0] & 0x1F == _SPS}
    return max(set(range(_HIGHEST_SPS_ID + 1)) - taken)


def _sps_id(unit: bytes) -> int:
    """`seq_parameter_set_id`: Exp-Golomb behind the unit's header, profile, constraints and level."""
    bits = "".join(f"{byte:08b}" for byte in unit[4:9])
    zeros = len(bits) - len(bits.lstrip("0"))
    return int(bits[zeros : 2 * zeros + 1] or "1", 2) - 1
