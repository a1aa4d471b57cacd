"""Plays one RTMP stream and yields its coded units."""

from __future__ import annotations

from collections.abc import Callable

from livedub.timeline.clock import NS_PER_S
from media_edge.worker.endpoints import Endpoint
from media_edge.worker.flv_demux import FlvDemux
from media_edge.worker.gst.pipeline import Pipeline, buffer_bytes, local_now_ns, quote
from media_edge.worker.units import Arrival

_CONNECT_TIMEOUT_S = 5
_MAX_QUEUED_TAGS = 1024


class RtmpIngest:
    """One RTMP session, from connect to its end; reconnecting is the caller's.

    rtmp2src hands out FLV tags as they came off the wire. They are read here rather than by flvdemux, which repairs
    time stamps per track and would shift the tracks against each other where a publisher restarts its encoder.
    A silent connection is noticed here too: rtmp2src's `idle-timeout` corrupts the heap when a server refuses the
    connection (GStreamer 1.22).
    """

    def __init__(self, endpoint: Endpoint, *, idle_timeout_s: int, on_problem: Callable[[str], None]) -> None:
        self._demux = FlvDemux(on_problem)
        self._idle_timeout_ns = idle_timeout_s * NS_PER_S
        self._last_arrival_ns = local_now_ns()
        self._pipeline = Pipeline(
            f"rtmp2src host={quote(endpoint.host)} port={endpoint.port} scheme={endpoint.scheme} "
            f"application={quote(endpoint.app)} stream={quote(endpoint.playpath)} "
            f"timeout={_CONNECT_TIMEOUT_S} "
            f"! appsink name=tags sync=false async=false max-buffers={_MAX_QUEUED_TAGS}"
        )
        self._sink = self._pipeline.sink("tags")
        self._ended: str | None = None
        self._pipeline.play()

    @property
    def ended(self) -> str | None:
        """Why the session is over; None while it runs."""
        return self._ended

    def poll(self) -> list[Arrival]:
        """What arrived since the last call."""
        arrivals: list[Arrival] = []
        now_ns = local_now_ns()
        while (sample := self._sink.try_pull_sample(0)) is not None:
            units = self._demux.read(buffer_bytes(sample.get_buffer()))
            arrivals.extend(Arrival(unit, now_ns) for unit in units)
        if arrivals:
            self._last_arrival_ns = now_ns
        elif self._ended is None:
            self._ended = self._end(now_ns)
        return arrivals

    def _end(self, now_ns: int) -> str | None:
        if now_ns - self._last_arrival_ns > self._idle_timeout_ns:
            return f"nothing arrived for {self._idle_timeout_ns // NS_PER_S} s"
        return next((event.text for event in self._pipeline.events() if event.kind in {"error", "eos"}), None)

    def close(self) -> None:
        """Disconnect; may take as long as a socket needs to be shut down."""
        self._pipeline.stop()
