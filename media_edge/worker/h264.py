"""What an AVCDecoderConfigurationRecord says about the picture (ISO/IEC 14496-15, 5.3.3.1; ITU-T H.264, 7.3.2.1)."""

from __future__ import annotations

from media_edge.worker.units import VideoFormat

_SPS_TYPE = 7
_CHROMA_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_YUV_444 = 3


def video_format(codec_data: bytes) -> VideoFormat:
    """The format of a record; width and height are 0 where its SPS cannot be read (they serve logs and metadata)."""
    try:
        width, height = _picture_size(_first_sps(codec_data))
    except (IndexError, ValueError):
        width = height = 0
    return VideoFormat(codec_data, width, height)


def _first_sps(codec_data: bytes) -> bytes:
    if codec_data[0] != 1 or codec_data[5] & 0x1F == 0:
        raise ValueError("no SPS in the record")
    size = int.from_bytes(codec_data[6:8], "big")
    sps = codec_data[8 : 8 + size]
    if not sps or sps[0] & 0x1F != _SPS_TYPE:
        raise ValueError("the record's first parameter set is no SPS")
    return sps


class _BitReader:
    """Reads an RBSP: emulation prevention bytes (7.4.1) are taken out first."""

    def __init__(self, nal_payload: bytes) -> None:
        self._data = nal_payload.replace(b"\x00\x00\x03", b"\x00\x00")
        self._position = 0

    def bits(self, count: int) -> int:
        value = 0
        for _ in range(count):
            byte = self._data[self._position >> 3]
            value = value << 1 | byte >> (7 - (self._position & 7)) & 1
            self._position += 1
        return value

    def unsigned(self) -> int:
        """ue(v), clause 9.1."""
        zeros = 0
        while not self.bits(1):
            zeros += 1
            if zeros > 31:
                raise ValueError("Exp-Golomb code too long")
        return (1 << zeros) - 1 + self.bits(zeros)

    def signed(self) -> int:
        """se(v), clause 9.1.1."""
        code = self.unsigned()
        return (code + 1) // 2 if code & 1 else -(code // 2)


def _picture_size(sps: bytes) -> tuple[int, int]:
    reader = _BitReader(sps[1:])
    profile = reader.bits(8)
    reader.bits(16)
    reader.unsigned()
    chroma_format = _skip_chroma(reader) if profile in _CHROMA_PROFILES else 1
    reader.unsigned()
    _skip_picture_order(reader)
    reader.unsigned()
    reader.bits(1)
    width_mbs = reader.unsigned() + 1
    height_map_units = reader.unsigned() + 1
    frame_mbs_only = reader.bits(1)
    if not frame_mbs_only:
        reader.bits(1)
    reader.bits(1)
    crop = [reader.unsigned() for _ in range(4)] if reader.bits(1) else [0, 0, 0, 0]
    crop_x = 1 if chroma_format in {0, _YUV_444} else 2
    crop_y = (2 if chroma_format == 1 else 1) * (2 - frame_mbs_only)
    width = width_mbs * 16 - crop_x * (crop[0] + crop[1])
    height = height_map_units * 16 * (2 - frame_mbs_only) - crop_y * (crop[2] + crop[3])
    return width, height


def _skip_chroma(reader: _BitReader) -> int:
    chroma_format = reader.unsigned()
    if chroma_format == _YUV_444:
        reader.bits(1)
    reader.unsigned()
    reader.unsigned()
    reader.bits(1)
    if reader.bits(1):
        for index in range(12 if chroma_format == _YUV_444 else 8):
            if reader.bits(1):
                _skip_scaling_list(reader, 16 if index < 6 else 64)
    return chroma_format


def _skip_scaling_list(reader: _BitReader, size: int) -> None:
    last_scale = next_scale = 8
    for _ in range(size):
        if next_scale:
            next_scale = (last_scale + reader.signed()) % 256
        last_scale = next_scale or last_scale


def _skip_picture_order(reader: _BitReader) -> None:
    order_type = reader.unsigned()
    if order_type == 0:
        reader.unsigned()
    elif order_type == 1:
        reader.bits(1)
        reader.signed()
        reader.signed()
        for _ in range(reader.unsigned()):
            reader.signed()
