"""Maps what a publisher sends onto the stream's own media timeline, session after session."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

from livedub.timeline.clock import NS_PER_MS, NS_PER_S
from livedub.timeline.origin import TimelineOrigin, anchor
from livedub.timeline.publisher_clock import PublisherClock
from media_edge.worker.units import Arrival, AudioUnit, MediaUnit, VideoUnit, sending_ns

logger = logging.getLogger(__name__)

_ANCHOR_WINDOW_NS = 500 * NS_PER_MS
"""First arrivals are held this long: the least delayed of them says where the session lies."""
_MAX_HELD_UNITS = 4_096
_CONTINUED_TOLERANCE_NS = 400 * NS_PER_MS
_BACKWARD_STEP_NS = 500 * NS_PER_MS
_EARLY_NS = 3 * NS_PER_S


class InputTimeline:
    """Media time of every unit, and the clock that says when a media time is due.

    A session is anchored by its least delayed arrival. In a worker that lives on, the anchor follows the publisher
    clock in use, so that a publisher who returns meets the map that viewers are already on; in a new worker it
    follows the wall clock that the stored origin names.
    """

    def __init__(
        self,
        *,
        delay_ms: int,
        generation: int,
        stored: TimelineOrigin | None,
        utc_now_ns: Callable[[], int],
        local_now_ns: Callable[[], int],
    ) -> None:
        self._delay_ms = delay_ms
        self._generation = generation
        self._stored = stored
        self._utc_now_ns = utc_now_ns
        self._local_now_ns = local_now_ns
        self.clock = PublisherClock(history_ns=delay_ms * NS_PER_MS + 120 * NS_PER_S)
        self._held: list[Arrival] = []
        self._offset_ns: int | None = None
        self._last_sending_ns: dict[type[MediaUnit], int] = {}
        self._newest_media_ns: int | None = None
        self.first_media_ns = 0
        """Where media began in this worker; 0 until it did."""
        self.sessions = 0

    @property
    def origin(self) -> TimelineOrigin | None:
        """What a successor needs, brought up to date; None before the first session."""
        if self._stored is None or not self.clock.started:
            return self._stored
        # A drifting publisher moves media time against the wall clock, so the origin is told anew each time.
        media_ns = self.clock.media_ns(self._local_now_ns())
        return replace(self._stored, utc_ns=self._utc_now_ns() - media_ns)

    @property
    def newest_media_ns(self) -> int | None:
        """End of what was received, in media time."""
        return self._newest_media_ns

    def begin_session(self) -> None:
        """A publisher connects anew: its timestamps say nothing until the session is anchored."""
        self._held.clear()
        self._offset_ns = None
        self._last_sending_ns.clear()

    def accept(self, arrivals: Iterable[Arrival]) -> list[Arrival]:
        """The arrivals in media time; the first ones of a session come out together, a little later."""
        mapped: list[Arrival] = []
        for arrival in arrivals:
            if self._offset_ns is not None and self._jumped(arrival):
                logger.warning("The publisher's timestamps jumped; its session is anchored anew.")
                self.begin_session()
            if self._offset_ns is None:
                self._held.append(arrival)
            else:
                mapped.append(self._map(arrival, self._offset_ns))
        if self._offset_ns is None and self._ready_to_anchor():
            mapped = self._anchor()
        self._learn(mapped)
        return mapped

    def _ready_to_anchor(self) -> bool:
        if not self._held:
            return False
        waited_ns = self._local_now_ns() - self._held[0].local_ns
        return waited_ns >= _ANCHOR_WINDOW_NS or len(self._held) >= _MAX_HELD_UNITS

    def _anchor(self) -> list[Arrival]:
        best = min(self._held, key=lambda arrival: arrival.local_ns - sending_ns(arrival.unit))
        utc_ns = self._utc_now_ns() - (self._local_now_ns() - best.local_ns)
        pts_ns = sending_ns(best.unit)
        story = "begins here"
        if self._stored is None:
            first_ns = min(sending_ns(arrival.unit) for arrival in self._held) // NS_PER_MS * NS_PER_MS
            self._stored = TimelineOrigin.begin(
                pts_ns=first_ns,
                utc_now_ns=utc_ns - (pts_ns - first_ns),
                delay_ms=self._delay_ms,
                generation=self._generation,
            )
        else:
            offset_ns = self._next_offset(self._stored, pts_ns, utc_ns, best.local_ns)
            same = offset_ns == self._stored.media_offset_ns
            story = "goes on with the publisher's own time" if same else "goes on by the wall clock"
            self._stored = replace(
                self._stored,
                media_offset_ns=offset_ns,
                delay_ms=self._delay_ms,
                generation=self._generation,
            )
        self._offset_ns = self._stored.media_offset_ns
        self.sessions += 1
        held, self._held = self._held, []
        mapped = [self._map(arrival, self._offset_ns) for arrival in held]
        begins_ns = min(sending_ns(arrival.unit) for arrival in mapped)
        if self.sessions == 1:
            self.first_media_ns = begins_ns
        logger.info(
            "Input session %d lies at %.3f s of the stream's timeline, which %s.",
            self.sessions,
            begins_ns / NS_PER_S,
            story,
        )
        return mapped

    def _next_offset(self, origin: TimelineOrigin, pts_ns: int, utc_ns: int, local_ns: int) -> int:
        if self.clock.started:
            origin = replace(origin, utc_ns=utc_ns - self.clock.media_ns(local_ns))
        offset_ns = anchor(
            origin,
            pts_ns=pts_ns,
            utc_now_ns=utc_ns,
            tolerance_ns=_CONTINUED_TOLERANCE_NS,
            last_aired_media_ns=self._newest_media_ns,
        )
        # FLV counts milliseconds: a whole offset lets every timestamp through without another rounding.
        return -(-offset_ns // NS_PER_MS) * NS_PER_MS

    def _map(self, arrival: Arrival, offset_ns: int) -> Arrival:
        unit = arrival.unit
        self._last_sending_ns[type(unit)] = sending_ns(unit)
        if isinstance(unit, VideoUnit):
            mapped: MediaUnit = VideoUnit(
                unit.pts_ns + offset_ns, unit.dts_ns + offset_ns, unit.keyframe, unit.data, unit.format
            )
        else:
            mapped = AudioUnit(unit.pts_ns + offset_ns, unit.data, unit.format)
        return Arrival(mapped, arrival.local_ns)

    def _learn(self, mapped: list[Arrival]) -> None:
        """Show the clock what arrived: of units seen at the same moment, the latest in media time was delayed least."""
        newest_ns: int | None = None
        for index, arrival in enumerate(mapped):
            media_ns = sending_ns(arrival.unit)
            newest_ns = media_ns if newest_ns is None else max(newest_ns, media_ns)
            if index + 1 == len(mapped) or mapped[index + 1].local_ns != arrival.local_ns:
                self.clock.observe(newest_ns, arrival.local_ns)
                newest_ns = None
            if self._newest_media_ns is None or media_ns > self._newest_media_ns:
                self._newest_media_ns = media_ns

    def _jumped(self, arrival: Arrival) -> bool:
        """Whether time stamps broke off: far back on their own track, or far ahead of real time."""
        time_ns = sending_ns(arrival.unit)
        last_ns = self._last_sending_ns.get(type(arrival.unit))
        if last_ns is not None and time_ns < last_ns - _BACKWARD_STEP_NS:
            return True
        expected_ns = self.clock.local_ns(time_ns + (self._offset_ns or 0))
        return expected_ns - arrival.local_ns > _EARLY_NS
