"""RTMP messages, as FLV tags, to coded units: H.264 and AAC, bytes untouched, times unwrapped to nanoseconds."""

from __future__ import annotations

from collections.abc import Callable

from media_edge.worker.flv import (
    AAC_RAW,
    AAC_SEQUENCE_HEADER,
    AUDIO_CODECS,
    AVC_NAL_UNITS,
    AVC_SEQUENCE_HEADER,
    ENHANCED_VIDEO,
    NS_PER_MS,
    VIDEO_CODECS,
    FlvTag,
    TagType,
    read_tags,
)
from media_edge.worker.h264 import video_format
from media_edge.worker.units import AudioFormat, AudioUnit, MediaUnit, VideoFormat, VideoUnit

_AVC = 7
_AAC = 10
_KEYFRAME = 1
_WRAP = 1 << 32


class FlvDemux:
    """Turns the bytes of one RTMP session into units.

    `on_problem` hears one sentence, once per cause, about what cannot be used: another codec, or media that comes
    before its sequence header.
    """

    def __init__(self, on_problem: Callable[[str], None]) -> None:
        self._on_problem = on_problem
        self._reported: set[str] = set()
        self._video_format: VideoFormat | None = None
        self._audio_format: AudioFormat | None = None
        self._last_ms: int | None = None

    def read(self, data: bytes) -> list[MediaUnit]:
        """The units in whole tags; configuration and metadata yield none."""
        units: list[MediaUnit] = []
        for tag in read_tags(data):
            unit = self._unit(tag)
            if unit is not None:
                units.append(unit)
        return units

    def _unit(self, tag: FlvTag) -> MediaUnit | None:
        if tag.tag_type == TagType.VIDEO and tag.body:
            return self._video(tag)
        if tag.tag_type == TagType.AUDIO and tag.body:
            return self._audio(tag)
        return None

    def _video(self, tag: FlvTag) -> VideoUnit | None:
        body = tag.body
        if body[0] & ENHANCED_VIDEO or body[0] & 0x0F != _AVC:
            self._problem(
                f"The publisher sends {_video_codec(body)} video; only H.264 can be passed through."
            )
            return None
        if len(body) < 5:
            return None
        if body[1] == AVC_SEQUENCE_HEADER:
            # A server repeats the header; the same bytes must stay the same object for cheap comparison.
            if self._video_format is None or self._video_format.codec_data != body[5:]:
                self._video_format = video_format(body[5:])
            return None
        if body[1] != AVC_NAL_UNITS:
            return None
        if self._video_format is None:
            self._problem("Video arrives before its sequence header; it is dropped until one comes.")
            return None
        dts_ns = self._unwrap(tag.timestamp_ms) * NS_PER_MS
        composition_ns = int.from_bytes(body[2:5], "big", signed=True) * NS_PER_MS
        return VideoUnit(
            pts_ns=dts_ns + composition_ns,
            dts_ns=dts_ns,
            keyframe=body[0] >> 4 == _KEYFRAME,
            data=body[5:],
            format=self._video_format,
        )

    def _audio(self, tag: FlvTag) -> AudioUnit | None:
        body = tag.body
        codec = body[0] >> 4
        if codec != _AAC:
            name = AUDIO_CODECS.get(codec, f"codec {codec}")
            self._problem(
                f"The publisher sends {name} audio; only AAC can be decoded: the stream counts as silent."
            )
            return None
        if len(body) < 2:
            return None
        if body[1] == AAC_SEQUENCE_HEADER:
            if self._audio_format is None or self._audio_format.codec_data != body[2:]:
                self._audio_format = AudioFormat(body[2:])
            return None
        if body[1] != AAC_RAW or len(body) == 2:
            return None
        if self._audio_format is None:
            self._problem("Audio arrives before its sequence header; it is dropped until one comes.")
            return None
        return AudioUnit(self._unwrap(tag.timestamp_ms) * NS_PER_MS, body[2:], self._audio_format)

    def _unwrap(self, timestamp_ms: int) -> int:
        """Continue the 32-bit counter past its wrap (49.7 days); steps up to half of it count in either direction."""
        if self._last_ms is None:
            self._last_ms = timestamp_ms
        else:
            step = (timestamp_ms - self._last_ms) % _WRAP
            self._last_ms += step if step < _WRAP // 2 else step - _WRAP
        return self._last_ms

    def _problem(self, sentence: str) -> None:
        if sentence not in self._reported:
            self._reported.add(sentence)
            self._on_problem(sentence)


def _video_codec(body: bytes) -> str:
    if body[0] & ENHANCED_VIDEO:
        return f"'{body[1:5].decode('ascii', 'replace')}' (enhanced RTMP)"
    codec = body[0] & 0x0F
    return VIDEO_CODECS.get(codec, f"codec {codec}")
