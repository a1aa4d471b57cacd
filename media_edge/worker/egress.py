"""What leaves: audio and video in one order of time, over one publishing session after another."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from heapq import merge
from typing import Protocol

from livedub.timeline.clock import NS_PER_MS, NS_PER_S
from media_edge.worker import flv
from media_edge.worker.units import AudioUnit, MediaUnit, VideoUnit, sending_ns

logger = logging.getLogger(__name__)

_FIRST_BACKOFF_NS = 500 * NS_PER_MS
_MAX_BACKOFF_NS = 2 * NS_PER_S
_BLOCKED_NS = 5 * NS_PER_S
_KEYFRAME_PATIENCE_NS = 3 * NS_PER_S
_HEALTHY_NS = 5 * NS_PER_S


DueTag = tuple[bytes, int]
"""An FLV tag and the local time at which it must leave, in nanoseconds."""


class Publisher(Protocol):
    """One publishing session: takes tags with the local time at which each must leave."""

    def push(self, tags: Sequence[DueTag]) -> None:
        """Send each tag when local time reaches its due time; `tags` are in order of time."""
        ...

    def poll(self) -> None:
        """Take news of the session."""
        ...

    def finish(self) -> None:
        """Unpublish once everything pushed has left."""
        ...

    @property
    def failure(self) -> str | None:
        """Why the session is over; None while it lives."""
        ...

    @property
    def finished(self) -> bool:
        """Whether everything has left after `finish`."""
        ...

    @property
    def queued_tags(self) -> int:
        """Tags pushed and not yet taken by the socket."""
        ...

    def close(self) -> None:
        """Disconnect without waiting."""
        ...


class EgressState(str, Enum):
    """Where the output is."""

    IDLE = "idle"
    CONNECTING = "connecting"
    LIVE = "live"
    BACKING_OFF = "backing_off"


class Egress:
    """Publishes units in media time, each at its local due time, and reconnects with back-off.

    Nothing is kept for a session that does not exist: what is due meanwhile is lost, and the next session starts at a
    keyframe with its headers, on the same timeline. A session that takes nothing for 5 s counts as failed, which
    bounds what can queue up in front of a blocked socket.
    """

    def __init__(
        self,
        connect: Callable[[], Publisher],
        *,
        due_ns: Callable[[int], int],
        delay_ns: int,
        name: str,
        on_failure: Callable[[], None],
    ) -> None:
        self._connect = connect
        self._due_ns = due_ns
        self._delay_ns = delay_ns
        self._name = name
        self._on_failure = on_failure
        self._publisher: Publisher | None = None
        self._state = EgressState.IDLE
        self._backoff_ns = _FIRST_BACKOFF_NS
        self._retry_at_ns = 0
        self._attached_at_ns = 0
        self._failing_since_ns: int | None = None
        self._pending: deque[tuple[int, int]] = deque()
        self._last_due_ns = 0
        self._reset_session()
        self.sent_media_ns: int | None = None
        """Media time of the newest tag that a socket took."""

    @property
    def state(self) -> EgressState:
        """Where the output is."""
        return self._state

    def failing_for_ns(self, now_ns: int) -> int:
        """How long nothing could be sent; 0 while the output works or is not wanted yet."""
        return 0 if self._failing_since_ns is None else now_ns - self._failing_since_ns

    def tick(self, now_ns: int) -> None:
        """Connect, notice failures, follow what was sent. Call once output is wanted, a little ahead of it."""
        if self._publisher is None:
            if now_ns >= self._retry_at_ns:
                self._attach(now_ns)
            return
        self._publisher.poll()
        self._follow(self._publisher, now_ns)
        failure = self._publisher.failure
        if failure is None and self._pending and now_ns - self._pending[0][0] > _BLOCKED_NS:
            failure = f"nothing could be sent for {_BLOCKED_NS // NS_PER_S} s"
        if failure is not None:
            self._fail(failure, now_ns)

    def send(self, units: Iterable[MediaUnit], now_ns: int) -> None:
        """Hand over units in the order of `sending_ns`."""
        if self._publisher is None:
            return
        ready = [unit for unit in units if self._may_send(unit, now_ns)]
        if not ready:
            return
        # Units handed over together span a fraction of a second, in which the map does not bend noticeably.
        first_ns = sending_ns(ready[0])
        offset_ns = self._due_ns(first_ns) - first_ns
        self._publisher.push([tag for unit in ready for tag in self._due_tags(unit, offset_ns)])

    def finish(self) -> None:
        """Let what was handed over play out, then unpublish; `finished` tells when."""
        if self._publisher is not None:
            self._publisher.finish()

    @property
    def finished(self) -> bool:
        """Whether everything left after `finish`, or there is nobody to send to."""
        return self._publisher is None or self._publisher.finished or self._publisher.failure is not None

    def close(self) -> None:
        """Disconnect at once."""
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None
        self._state = EgressState.IDLE

    def _reset_session(self) -> None:
        self._pending.clear()
        self._started = False
        self._video_started = False
        self._taken_tags = 0
        self._sent_formats: dict[type[MediaUnit], object] = {}

    def _attach(self, now_ns: int) -> None:
        self._reset_session()
        self._publisher = self._connect()
        self._attached_at_ns = now_ns
        self._state = EgressState.CONNECTING

    def _follow(self, publisher: Publisher, now_ns: int) -> None:
        taken = len(self._pending) - publisher.queued_tags
        if taken <= 0:
            return
        for _ in range(taken):
            _, self.sent_media_ns = self._pending.popleft()
        self._taken_tags += taken
        # The sink takes a tag and then waits for its time, so the first one taken proves nothing yet.
        if self._state is EgressState.CONNECTING and self._taken_tags > 1:
            self._state = EgressState.LIVE
            self._failing_since_ns = None
            logger.info("Output %s is live.", self._name)
        if now_ns - self._attached_at_ns > _HEALTHY_NS:
            self._backoff_ns = _FIRST_BACKOFF_NS

    def _fail(self, reason: str, now_ns: int) -> None:
        logger.warning(
            "Output %s %s: %s. Next attempt in %.1f s.",
            self._name,
            "broke" if self._state is EgressState.LIVE else "is refused",
            reason,
            self._backoff_ns / NS_PER_S,
        )
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None
        self._pending.clear()
        self._state = EgressState.BACKING_OFF
        self._retry_at_ns = now_ns + self._backoff_ns
        self._backoff_ns = min(2 * self._backoff_ns, _MAX_BACKOFF_NS)
        self._on_failure()
        if self._failing_since_ns is None:
            self._failing_since_ns = now_ns

    def _may_send(self, unit: MediaUnit, now_ns: int) -> bool:
        if isinstance(unit, VideoUnit):
            if not self._video_started and not unit.keyframe:
                return False
            self._video_started = True
        elif not self._started and now_ns - self._attached_at_ns < _KEYFRAME_PATIENCE_NS:
            return False
        return True

    def _due_tags(self, unit: MediaUnit, offset_ns: int) -> list[DueTag]:
        """The unit as a tag, after the headers it needs."""
        media_ns = sending_ns(unit)
        stamp_ms = flv.to_timestamp_ms(media_ns + self._delay_ns)
        # Due times come from a map that may bend; the sink wants them in order.
        due_ns = self._last_due_ns = max(media_ns + offset_ns, self._last_due_ns)
        tags: list[bytes] = []
        if not self._started:
            self._started = True
            tags.append(flv.pack_metadata(_metadata(unit), stamp_ms))
        if self._sent_formats.get(type(unit)) != unit.format:
            self._sent_formats[type(unit)] = unit.format
            tags.append(_pack_header(unit, stamp_ms))
        tags.append(self._pack(unit, stamp_ms))
        self._pending.extend((due_ns, media_ns) for _ in tags)
        return [(tag, due_ns) for tag in tags]

    def _pack(self, unit: MediaUnit, stamp_ms: int) -> bytes:
        if isinstance(unit, AudioUnit):
            return flv.pack_audio(unit.data, stamp_ms)
        composition_ms = flv.to_timestamp_ms(unit.pts_ns + self._delay_ns) - stamp_ms
        return flv.pack_video(
            unit.data, keyframe=unit.keyframe, timestamp_ms=stamp_ms, composition_ms=composition_ms
        )


def in_sending_order(*tracks: Iterable[MediaUnit]) -> Iterable[MediaUnit]:
    """Merge tracks that are each in order; where times are equal, the first track goes first."""
    return merge(*tracks, key=sending_ns)


def _pack_header(unit: MediaUnit, stamp_ms: int) -> bytes:
    if isinstance(unit, VideoUnit):
        return flv.pack_video_header(unit.format.codec_data, stamp_ms)
    return flv.pack_audio_header(unit.format.codec_data, stamp_ms)


def _metadata(unit: MediaUnit) -> dict[str, float | bool | str]:
    values: dict[str, float | bool | str] = {
        "videocodecid": 7.0,
        "audiocodecid": 10.0,
        "audiosamplerate": 48_000.0,
        "stereo": True,
        "encoder": "livedub",
    }
    if isinstance(unit, VideoUnit) and unit.format.width:
        values |= {"width": float(unit.format.width), "height": float(unit.format.height)}
    return values
