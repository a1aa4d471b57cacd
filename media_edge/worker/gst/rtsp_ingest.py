"""Plays one RTSP stream (RTP over TCP, RFC 2326 section 10.12) and yields its coded units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from livedub.timeline.clock import NS_PER_S
from media_edge.worker.endpoints import Endpoint
from media_edge.worker.gst.pipeline import Pipeline, buffer_bytes, local_now_ns, quote
from media_edge.worker.gst.typelibs import Gst, GstApp
from media_edge.worker.h264 import video_format
from media_edge.worker.sync_gate import SyncGate
from media_edge.worker.units import Arrival, AudioFormat, AudioUnit, MediaUnit, VideoFormat, VideoUnit

_Unit = TypeVar("_Unit", VideoUnit, AudioUnit)

_CONNECT_TIMEOUT_US = 5_000_000
_MAX_QUEUED_UNITS = 1024
_REPORT_WAIT_NS = 2 * NS_PER_S
_DEPAYLOADERS = {"H264": "h264", "MPEG4-GENERIC": "aac", "MP4A-LATM": "latm"}


class RtspIngest:
    """One RTSP session, from connect to its end; reconnecting is the caller's.

    RTP carries presentation times alone, so h264timestamper reconstructs decoding times from the picture order.
    The jitter buffer follows the RTP timestamps (`buffer-mode=none`): the worker has a clock recovery of its own,
    and two of them in a row would chase each other.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        latency_ms: int,
        idle_timeout_s: int,
        on_problem: Callable[[str], None],
    ) -> None:
        self._idle_timeout_ns = idle_timeout_s * NS_PER_S
        self._on_problem = on_problem
        self._unknown: set[str] = set()
        self._pipeline = Pipeline(
            f"rtspsrc name=source location={quote(endpoint.url)} protocols=tcp latency={latency_ms} buffer-mode=none "
            f"drop-on-latency=false tcp-timeout={_CONNECT_TIMEOUT_US} "
            "rtph264depay name=h264 ! h264parse ! h264timestamper "
            "! video/x-h264,stream-format=avc,alignment=au "
            f"! appsink name=video sync=false async=false max-buffers={_MAX_QUEUED_UNITS} "
            "rtpmp4gdepay name=aac ! funnel name=audio_in "
            "rtpmp4adepay name=latm ! audio_in. "
            "audio_in. ! aacparse ! audio/mpeg,stream-format=raw "
            f"! appsink name=audio sync=false async=false max-buffers={_MAX_QUEUED_UNITS}"
        )
        self._video = self._pipeline.sink("video")
        self._audio = self._pipeline.sink("audio")
        self._video_format: VideoFormat | None = None
        self._audio_format: AudioFormat | None = None
        self._first_audio_pts_ns: int | None = None
        self._ended: str | None = None
        self._last_arrival_ns = local_now_ns()
        self._gate = SyncGate(_REPORT_WAIT_NS)
        self._reported: set[int] = set()
        self._tracks = 0
        source = self._pipeline.element("source")
        self._handlers: list[tuple[Any, int]] = [
            (source, source.connect("pad-added", self._link)),
            (source, source.connect("new-manager", self._meet_manager)),
        ]
        self._pipeline.play()

    @property
    def ended(self) -> str | None:
        """Why the session is over; None while it runs."""
        return self._ended

    def poll(self) -> list[Arrival]:
        """What arrived since the last call."""
        now_ns = local_now_ns()
        audio = [unit for unit in self._pull(self._audio, self._audio_unit) if self._has_own_time(unit)]
        units: list[MediaUnit] = [*self._pull(self._video, self._video_unit), *audio]
        while self._unknown:
            name = self._unknown.pop()
            self._on_problem(f"The publisher sends {name}, which is neither H.264 nor AAC: it is left out.")
        if units:
            self._last_arrival_ns = now_ns
        elif self._ended is None:
            self._ended = self._end(now_ns)
        arrivals = [Arrival(unit, now_ns) for unit in units]
        return self._gate.admit(arrivals, synchronised=self._synchronised(), now_ns=now_ns)

    def close(self) -> None:
        """Disconnect; returns before a stuck socket does."""
        # A connected handler holds this object and the pipeline for good: sockets would pile up.
        while self._handlers:
            element, handler = self._handlers.pop()
            element.disconnect(handler)
        self._pipeline.stop()

    def _end(self, now_ns: int) -> str | None:
        if now_ns - self._last_arrival_ns > self._idle_timeout_ns:
            return f"nothing arrived for {self._idle_timeout_ns // NS_PER_S} s"
        return next((event.text for event in self._pipeline.events() if event.kind in {"error", "eos"}), None)

    def _link(self, _source: Gst.Element, pad: Any) -> None:
        """Join a stream of the session to its depayloader; runs on rtspsrc's thread, a few times per session."""
        structure = pad.get_current_caps().get_structure(0)
        encoding = structure.get_string("encoding-name") or "a stream without a name"
        target = _DEPAYLOADERS.get(encoding.upper())
        sink = self._pipeline.element(target).get_static_pad("sink") if target else None
        if sink is None or sink.is_linked():
            self._unknown.add(encoding)
            return
        pad.link(sink)
        self._tracks += 1

    def _meet_manager(self, _source: Gst.Element, manager: Any) -> None:
        """Listen for RTCP of the RTP sessions below; runs on rtspsrc's thread, once."""
        self._handlers.append((manager, manager.connect("on-ssrc-active", self._hear_report)))

    def _hear_report(self, _manager: Any, session: int, _ssrc: int) -> None:
        """A track's sender reported; runs on a streaming thread, every few seconds."""
        self._reported.add(session)

    def _synchronised(self) -> bool:
        """Whether every track has had a sender report."""
        return 0 < self._tracks <= len(self._reported)

    def _has_own_time(self, unit: AudioUnit) -> bool:
        """Whether its PTS is its own: what was sent before the session's start is stamped with the start."""
        if self._first_audio_pts_ns is None:
            self._first_audio_pts_ns = unit.pts_ns
        return unit.pts_ns > self._first_audio_pts_ns

    def _pull(self, sink: GstApp.AppSink, read: Callable[[Gst.Sample], _Unit]) -> list[_Unit]:
        units: list[_Unit] = []
        while (sample := sink.try_pull_sample(0)) is not None:
            units.append(read(sample))
        return units

    def _video_unit(self, sample: Gst.Sample) -> VideoUnit:
        buffer = sample.get_buffer()
        codec_data = _codec_data(sample)
        if self._video_format is None or self._video_format.codec_data != codec_data:
            self._video_format = video_format(codec_data)
        pts_ns = _running_time(sample, buffer.pts)
        dts_ns = pts_ns if buffer.dts == Gst.CLOCK_TIME_NONE else _running_time(sample, buffer.dts)
        return VideoUnit(
            pts_ns=pts_ns,
            dts_ns=dts_ns,
            keyframe=not buffer.has_flags(Gst.BufferFlags.DELTA_UNIT),
            data=buffer_bytes(buffer),
            format=self._video_format,
        )

    def _audio_unit(self, sample: Gst.Sample) -> AudioUnit:
        buffer = sample.get_buffer()
        codec_data = _codec_data(sample)
        if self._audio_format is None or self._audio_format.codec_data != codec_data:
            self._audio_format = AudioFormat(codec_data)
        return AudioUnit(_running_time(sample, buffer.pts), buffer_bytes(buffer), self._audio_format)


def _codec_data(sample: Gst.Sample) -> bytes:
    return buffer_bytes(sample.get_caps().get_structure(0).get_value("codec_data"))


def _running_time(sample: Gst.Sample, time_ns: int) -> int:
    """Running time of a buffer's time stamp; negative before the segment, where first decoding times lie."""
    sign, running_ns = sample.get_segment().to_running_time_full(Gst.Format.TIME, time_ns)
    return sign * running_ns
