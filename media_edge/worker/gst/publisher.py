"""Publishes FLV tags over RTMP, each at its local due time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from media_edge.worker.egress import DueTag
from media_edge.worker.endpoints import Endpoint
from media_edge.worker.gst.pipeline import Pipeline, quote, timed_buffer

_CONNECT_TIMEOUT_S = 5
_CHUNK_BYTES = 60_000
"""RTMP chunk size: the default of 128 would cut one picture into hundreds of pieces."""
_CLOSE_WAIT_S = 0.2
_GROUP_NS = 25_000_000
"""Tags due within this time leave together, at the middle of it: each wake-up of the sink costs more than a tag."""


class RtmpPublisher:
    """One RTMP publishing session; a failed one is closed and replaced by the caller.

    The sink waits for each buffer's PTS on the shared clock, so tags may be handed over ahead of time; how far ahead
    is the caller's to bound (`queued_tags`): appsrc's own limits are off, because they could be shorter than what the
    caller hands over ahead of time, and would then stall or drop.
    """

    def __init__(self, endpoint: Endpoint, *, patient: bool = True) -> None:
        """`patient`: whether `close` waits a moment for the disconnection, which a stuck socket draws out."""
        self._close_wait_s = _CLOSE_WAIT_S if patient else 0.0
        self._pipeline = Pipeline(
            "appsrc name=tags format=time max-bytes=0 max-buffers=0 max-time=0 caps=video/x-flv "
            f"! rtmp2sink host={quote(endpoint.host)} port={endpoint.port} scheme={endpoint.scheme} "
            f"application={quote(endpoint.app)} stream={quote(endpoint.playpath)} timeout={_CONNECT_TIMEOUT_S} "
            f"chunk-size={_CHUNK_BYTES} sync=true async=false qos=false max-lateness=-1"
        )
        self._source = self._pipeline.list_source("tags")
        self._failure: str | None = None
        self._finished = False
        self._pipeline.play()

    def push(self, tags: Sequence[DueTag]) -> None:
        """Send each tag when local time reaches its due time, neighbours together; `tags` are in order of time."""
        for group in _neighbours(tags):
            due_ns = (group[0][1] + group[-1][1]) // 2
            self._source.push([timed_buffer(tag, due_ns) for tag, _ in group])

    def finish(self) -> None:
        """Unpublish once everything pushed has left; `finished` tells when."""
        self._source.finish()

    def poll(self) -> None:
        """Take news off the bus."""
        for event in self._pipeline.events():
            if event.kind == "error" and self._failure is None:
                self._failure = event.text
            elif event.kind == "eos":
                self._finished = True

    @property
    def failure(self) -> str | None:
        """Why the session is over; None while it lives."""
        return self._failure

    @property
    def finished(self) -> bool:
        """Whether everything has been sent after `finish`."""
        return self._finished

    @property
    def queued_tags(self) -> int:
        """Tags handed over and not yet taken by the sink."""
        return self._source.queued_buffers

    def close(self) -> None:
        """Disconnect at once."""
        self._pipeline.stop(self._close_wait_s)


def _neighbours(tags: Sequence[DueTag]) -> Iterator[list[DueTag]]:
    """Runs of tags that are due within `_GROUP_NS` of the first of them."""
    group: list[DueTag] = []
    for tag in tags:
        if group and tag[1] - group[0][1] > _GROUP_NS:
            yield group
            group = []
        group.append(tag)
    if group:
        yield group
