"""Keeps timeline origins with the supervisor: it gave the old one at the start and hears of every new one."""

from __future__ import annotations

from livedub.timeline.origin import TimelineOrigin
from media_edge.worker.progress import ProgressWriter


class TimelinePipeStore:
    """A TimelineStore for one stream whose supervisor reads the worker's progress."""

    def __init__(self, stored: TimelineOrigin | None, progress: ProgressWriter) -> None:
        self._origin = stored
        self._progress = progress

    def load(self, stream_id: str) -> TimelineOrigin | None:  # noqa: ARG002 - there is only one
        """The origin."""
        return self._origin

    def save(self, stream_id: str, origin: TimelineOrigin) -> None:
        """Tell the supervisor."""
        self._origin = origin
        self._progress.write({"event": "timeline", "stream_id": stream_id, "origin": origin.to_json()})
