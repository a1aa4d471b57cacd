"""Reading a recording: its H.264 access units and audio packets undecoded, its audio decoded onto its timestamps."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyAV leaves the type parameter of its packets open.

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from livedub.audio.pcm import Samples
from livedub.errors import InvalidInputError
from livedub.timeline.clock import NS_PER_S
from livedub.verify import nal
from livedub.verify.track import AudioTrack, DecodedBlock, TrackBuilder

_READABLE = "Give a recording that ffprobe can read: FLV, MP4 or MPEG-TS."
_AAC_FRAME_SAMPLES = 1024


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One coded video frame as the container carried it; `nal_digests` leaves parameter sets and delimiters out."""

    pts_ns: int
    dts_ns: int
    keyframe: bool
    nal_digests: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class AudioPacket:
    """One coded audio frame: when it starts, and how long it sounds by its sample count."""

    pts_ns: int
    duration_ns: int


@dataclass(frozen=True, slots=True)
class Recording:
    """What a file carries, in file order, at the file's own timestamps."""

    path: Path
    wire_timestamps: bool
    """Timestamps are those of the stream (FLV keeps them); other containers start every file at their own zero."""
    video: tuple[AccessUnit, ...]
    audio: tuple[AudioPacket, ...]

    @property
    def start_ns(self) -> int:
        """Timestamp of the first packet of any track (decoding time for video)."""
        return min([unit.dts_ns for unit in self.video] + [packet.pts_ns for packet in self.audio])

    @property
    def first_shown_ns(self) -> int:
        """Presentation timestamp of the first packet of the track that starts first: time 0 of a player."""
        return min(track[0].pts_ns for track in (self.video, self.audio) if track)

    @property
    def end_ns(self) -> int:
        """Timestamp of the last packet of any track."""
        return max([unit.dts_ns for unit in self.video] + [packet.pts_ns for packet in self.audio])


def read_recording(path: Path) -> Recording:
    """Read every packet of the first video and the first audio track, without decoding.

    Raises:
        InvalidInputError: the file is missing, is no media file, or carries neither video nor audio.
    """
    with _opened(path) as container:
        is_flv = container.format.name == "flv"
        video = next(iter(container.streams.video), None)
        audio = next(iter(container.streams.audio), None)
        tracks = [stream for stream in (video, audio) if stream is not None]
        units: list[AccessUnit] = []
        packets: list[AudioPacket] = []
        reader = _UnitReader(video) if video is not None else None
        for packet in container.demux(tracks):
            if packet.size == 0 or packet.pts is None:
                continue
            if isinstance(packet.stream, AudioStream):
                packets.append(_audio_packet(packet, packet.stream))
            elif reader is not None:
                units.append(reader.read(packet))
    if not units and not packets:
        raise InvalidInputError(f"{path} carries neither video nor audio packets.", remedy=_READABLE)
    return Recording(path, is_flv, tuple(units), tuple(packets))


def read_audio(path: Path) -> tuple[AudioTrack, ...]:
    """Decode the first audio track to 48 kHz stereo at its timestamps: one track per take, none without audio.

    Raises:
        InvalidInputError: the file is missing or cannot be decoded.
    """
    builder = TrackBuilder()
    with _opened(path) as container:
        stream = next(iter(container.streams.audio), None)
        if stream is None:
            return ()
        to_planar = _PlanarFloat()
        for frame in container.decode(stream):
            if frame.pts is not None and frame.samples:
                time_base = frame.time_base or stream.time_base or Fraction(1, frame.sample_rate)
                builder.add(DecodedBlock(_ns(frame.pts, time_base), frame.sample_rate, to_planar(frame)))
    return builder.build()


@contextmanager
def _opened(path: Path) -> Generator[InputContainer]:
    if not path.is_file():
        raise InvalidInputError(f"{path} does not exist or is no file.", remedy=_READABLE)
    try:
        with av.open(str(path), "r") as container:
            if not container.streams.video and not container.streams.audio:
                raise InvalidInputError(f"{path} carries neither video nor audio.", remedy=_READABLE)
            yield container
    except FFmpegError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}.", remedy=_READABLE) from error


class _UnitReader:
    """Splits packets into access units; follows parameter sets that change in mid-stream."""

    def __init__(self, stream: VideoStream) -> None:
        self._h264 = stream.codec_context.name == "h264"
        self._prefix_bytes = nal.length_size(stream.codec_context.extradata)

    def read(self, packet: Packet[Stream]) -> AccessUnit:
        if packet.has_sidedata("new_extradata"):
            self._prefix_bytes = nal.length_size(bytes(packet.get_sidedata("new_extradata")))
        payload = bytes(packet)
        if self._h264:
            digests = nal.picture_digests(nal.split(payload, self._prefix_bytes))
        else:
            digests = (blake2b(payload, digest_size=12).digest(),)
        pts = packet.pts if packet.pts is not None else 0
        dts = packet.dts if packet.dts is not None else pts
        return AccessUnit(
            pts_ns=_ns(pts, packet.time_base),
            dts_ns=_ns(dts, packet.time_base),
            keyframe=packet.is_keyframe,
            nal_digests=digests,
        )


def _audio_packet(packet: Packet[Stream], stream: AudioStream) -> AudioPacket:
    context = stream.codec_context
    samples = context.frame_size or _AAC_FRAME_SAMPLES
    duration_ns = round(samples * NS_PER_S / context.sample_rate)
    if context.name != "aac" and packet.duration:
        duration_ns = _ns(packet.duration, packet.time_base)
    return AudioPacket(_ns(packet.pts or 0, packet.time_base), duration_ns)


class _PlanarFloat:
    """Frames of any sample format to (n, channels) float32 at their own rate."""

    def __init__(self) -> None:
        self._layout = ""
        self._rate = 0
        self._resampler: av.AudioResampler | None = None

    def __call__(self, frame: av.AudioFrame) -> Samples:
        if self._resampler is None or (self._layout, self._rate) != (frame.layout.name, frame.sample_rate):
            self._layout, self._rate = frame.layout.name, frame.sample_rate
            self._resampler = av.AudioResampler(format="fltp")
        blocks = [out.to_ndarray().T for out in self._resampler.resample(frame)]
        return np.concatenate(blocks).astype(np.float32)


def _ns(ticks: int, time_base: Fraction) -> int:
    return round(ticks * time_base * NS_PER_S)
