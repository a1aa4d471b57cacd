"""Coded media between ingest and egress: plain values, so that no GStreamer object outlives its callback."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """H.264 parameters: an AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3.1) and what its SPS says."""

    codec_data: bytes
    width: int = 0
    height: int = 0

    def __str__(self) -> str:
        return f"H.264 {self.width}x{self.height}" if self.width else "H.264"


AAC_FRAME_SAMPLES = 1024
"""Samples of one frame of AAC-LC, which is what outputs carry (ISO/IEC 14496-3, 4.5.2.1)."""

_AAC_RATES_HZ = (
    96_000,
    88_200,
    64_000,
    48_000,
    44_100,
    32_000,
    24_000,
    22_050,
    16_000,
    12_000,
    11_025,
    8_000,
)


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """AAC parameters: an AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1)."""

    codec_data: bytes

    def __str__(self) -> str:
        if len(self.codec_data) < 2:
            return "AAC"
        bits = int.from_bytes(self.codec_data[:2], "big")
        index, channels = bits >> 7 & 0xF, bits >> 3 & 0xF
        rate = f" {_AAC_RATES_HZ[index]} Hz" if index < len(_AAC_RATES_HZ) else ""
        return f"AAC{rate}, {channels} channel{'' if channels == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class VideoUnit:
    """One access unit: length-prefixed NAL units exactly as they arrived.

    `pts_ns` and `dts_ns` are the publisher's own until ingest maps them onto the media timeline.
    """

    pts_ns: int
    dts_ns: int
    keyframe: bool
    data: bytes
    format: VideoFormat


@dataclass(frozen=True, slots=True)
class AudioUnit:
    """One raw AAC frame (1024 samples at the coded rate, or 2048 with SBR)."""

    pts_ns: int
    data: bytes
    format: AudioFormat


MediaUnit = VideoUnit | AudioUnit


@dataclass(frozen=True, slots=True)
class Arrival:
    """A unit and the local (monotonic) time at which the worker saw it."""

    unit: MediaUnit
    local_ns: int


def sending_ns(unit: MediaUnit) -> int:
    """The time by which a publisher must have sent the unit: decoding time, which for audio is its PTS."""
    return unit.dts_ns if isinstance(unit, VideoUnit) else unit.pts_ns
