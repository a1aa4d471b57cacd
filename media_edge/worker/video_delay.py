"""Where access units wait out the delay D."""

from __future__ import annotations

import logging
from collections import deque

from media_edge.worker.units import VideoUnit

logger = logging.getLogger(__name__)


class VideoDelayLine:
    """Access units in decoding order, bounded in bytes.

    DTS never goes back on air: units that lie before what was taken are dropped until a keyframe passes that point,
    because the pictures between could not be decoded. The same holds where the bound is reached.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._units: deque[VideoUnit] = deque()
        self._bytes = 0
        self._last_dts_ns: int | None = None
        self._await_keyframe = True
        self.dropped_units = 0

    def __len__(self) -> int:
        return len(self._units)

    @property
    def size_bytes(self) -> int:
        """Bytes of media waiting."""
        return self._bytes

    def await_keyframe(self) -> None:
        """A new session begins: whatever refers to pictures that were lost is useless."""
        self._await_keyframe = True

    def push(self, unit: VideoUnit) -> None:
        """Append a unit, or drop it where it cannot be decoded or there is no room."""
        in_order = self._last_dts_ns is None or unit.dts_ns > self._last_dts_ns
        if self._bytes + len(unit.data) > self._max_bytes:
            if not self._await_keyframe:
                logger.error(
                    "The video buffer is full (%d bytes): pictures are dropped up to a keyframe. "
                    "Lower the bitrate or raise WORKER_VIDEO_BUFFER_MAX_BYTES.",
                    self._bytes,
                )
            in_order = False
        if not in_order or (self._await_keyframe and not unit.keyframe):
            self._await_keyframe = True
            self.dropped_units += 1
            return
        self._await_keyframe = False
        self._last_dts_ns = unit.dts_ns
        self._units.append(unit)
        self._bytes += len(unit.data)

    def take_before(self, dts_ns: int) -> list[VideoUnit]:
        """Remove and return the units whose DTS lies before `dts_ns`."""
        taken: list[VideoUnit] = []
        while self._units and self._units[0].dts_ns < dts_ns:
            unit = self._units.popleft()
            self._bytes -= len(unit.data)
            taken.append(unit)
        return taken
