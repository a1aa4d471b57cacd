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


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """AAC parameters: an AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1)."""

    codec_data: bytes


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
