"""When, on the local clock, a media time is due: follows a publisher whose clock drifts, without ever jumping.

A packet stamped with media time m arrives at `m + offset + network delay`, and the delay is never negative. The least
`local - media` of the last seconds is therefore close to the true offset, whatever jitter, bursts and stalls lie on
top; this minimum filter is the idea behind clock recovery in NTP (RFC 5905, clock filter) and in GStreamer's jitter
buffer. The offset in use glides towards that minimum at a bounded rate.

Only the moment of sending follows the map. Output timestamps stay media time + D, so sound and picture cannot drift
apart by what happens here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from livedub.errors import ConfigurationError, InvalidInputError
from livedub.timeline.clock import NS_PER_MS, NS_PER_S

_PPM = 1_000_000
_SAMPLE_SPACING_NS = 50 * NS_PER_MS  # bounds the filter's memory, costs at most this much of its window
_STALL_NS = 500 * NS_PER_MS  # longer silence says nothing about the path, so it does not age what was learned
_KNOT_SPACING_NS = 250 * NS_PER_MS
_DRIFT_POINTS = 31  # windows that the drift figure looks back over


@dataclass(frozen=True, slots=True)
class _Knot:
    """Where the map bends: from `media_ns` on, the offset glides from `offset_ns` towards `target_ns`."""

    media_ns: int
    offset_ns: int
    target_ns: int

    def offset_at(self, media_ns: int, slew_ppm: int) -> int:
        reach = max(0, media_ns - self.media_ns) * slew_ppm // _PPM
        return self.offset_ns + max(-reach, min(reach, self.target_ns - self.offset_ns))

    def media_at(self, local_ns: int, slew_ppm: int) -> int:
        """Inverse of `media_ns + offset_at(media_ns)`, to 2 ns."""
        since_ns = local_ns - self.media_ns - self.offset_ns
        shift_ns = self.target_ns - self.offset_ns
        rate_ppm = _PPM + (slew_ppm if shift_ns > 0 else -slew_ppm)
        gliding_ns = since_ns * _PPM // rate_ppm
        if since_ns < 0:
            return self.media_ns + since_ns
        if gliding_ns * slew_ppm < abs(shift_ns) * _PPM:
            return self.media_ns + gliding_ns
        return self.media_ns + since_ns - shift_ns


def _media_of(knot: _Knot) -> int:
    return knot.media_ns


def _local_of(knot: _Knot) -> int:
    return knot.media_ns + knot.offset_ns


class PublisherClock:
    """Map from media time to local running time, learned from arrivals.

    The map is a fixed function of media time up to the newest media time observed: whoever asks about the same media
    time, the video at its arrival or the mixer seconds later, gets the same answer. Beyond it the map is a forecast,
    right to within `max_slew_ppm`. It rises strictly and its rate stays within `max_slew_ppm` of real time.

    The exception are the first `settle_ns`, when nothing is on air yet: the map follows the least delay seen at once.

    Args:
        window_ns: how far back the minimum filter looks: longer stands more jitter, but a rising offset is followed
            that much later (200 ppm over 20 s are 4 ms).
        max_slew_ppm: the fastest glide; must exceed the worst drift of a publisher (crystals: 100 to 200 ppm).
        settle_ns: local time after the first arrival in which the map may still move freely.
        history_ns: media time for which the bends of the map are remembered; cover D.

    Raises:
        ConfigurationError: a value is out of range.
    """

    def __init__(
        self,
        *,
        window_ns: int = 20 * NS_PER_S,
        max_slew_ppm: int = 500,
        settle_ns: int = 2 * NS_PER_S,
        history_ns: int = 120 * NS_PER_S,
    ) -> None:
        if min(window_ns, history_ns) <= 0 or not 0 < max_slew_ppm < _PPM or not 0 <= settle_ns <= window_ns:
            raise ConfigurationError(
                f"window_ns ({window_ns}), max_slew_ppm ({max_slew_ppm}), settle_ns ({settle_ns}) and history_ns"
                f" ({history_ns}) do not fit together.",
                remedy="Use a positive window, 0 <= settle_ns <= window_ns, and a slew from 1 to 999999 ppm.",
            )
        self._window_ns = window_ns
        self._slew_ppm = max_slew_ppm
        self._settle_ns = settle_ns
        self._history_ns = history_ns
        # (heard_ns, offset_ns), both rising: the first is the sliding minimum, the others follow it into that place.
        self._minima: deque[tuple[int, int]] = deque()
        self._knots: list[_Knot] = []
        self._targets: deque[tuple[int, int]] = deque(maxlen=_DRIFT_POINTS)
        self._settled_at_ns = 0
        self._newest_media_ns = 0
        self._newest_local_ns = 0
        self._heard_ns = 0  # local time without stalls

    @property
    def started(self) -> bool:
        """Whether anything arrived yet; without that there is no map."""
        return bool(self._knots)

    @property
    def offset_ns(self) -> int:
        """Offset in use (local - media) at the newest media time observed."""
        return self.local_ns(self._newest_media_ns) - self._newest_media_ns

    @property
    def drift_ppm(self) -> float:
        """How much slower than the local clock the publisher runs, over the last windows; 0 until two are known."""
        if len(self._targets) < 2:
            return 0.0
        (first_ns, first_offset_ns), (last_ns, last_offset_ns) = self._targets[0], self._targets[-1]
        return (last_offset_ns - first_offset_ns) * _PPM / (last_ns - first_ns)

    def observe(self, media_ns: int, local_ns: int) -> None:
        """Learn from one arrival.

        Args:
            media_ns: media time of the packet in the order of decoding. Presentation times of a stream with B-frames
                run ahead of that and would pass for an earlier clock.
            local_ns: local running time of its arrival.
        """
        if not self._knots:
            self._newest_media_ns, self._newest_local_ns = media_ns, local_ns
            self._settled_at_ns = local_ns + self._settle_ns
        self._newest_media_ns = max(self._newest_media_ns, media_ns)
        elapsed_ns = max(0, local_ns - self._newest_local_ns)
        self._newest_local_ns += elapsed_ns
        self._heard_ns += min(elapsed_ns, _STALL_NS)
        target_ns = self._least_offset_ns(local_ns - media_ns)
        if not self._knots or self._newest_local_ns < self._settled_at_ns:
            self._knots = [_Knot(self._newest_media_ns, target_ns, target_ns)]
        else:
            self._steer(target_ns)

    def local_ns(self, media_ns: int) -> int:
        """Local running time at which `media_ns` would arrive on an undisturbed network; add D for the air.

        Raises:
            InvalidInputError: nothing was observed yet.
        """
        return media_ns + self._knot_at(media_ns, _media_of).offset_at(media_ns, self._slew_ppm)

    def media_ns(self, local_ns: int) -> int:
        """Inverse of `local_ns`, to 2 ns.

        Raises:
            InvalidInputError: nothing was observed yet.
        """
        return self._knot_at(local_ns, _local_of).media_at(local_ns, self._slew_ppm)

    def _least_offset_ns(self, offset_ns: int) -> int:
        """Put one offset into the sliding minimum and read it."""
        now_ns = self._heard_ns
        while self._minima and self._minima[0][0] < now_ns - self._window_ns:
            self._minima.popleft()
        while self._minima and self._minima[-1][1] >= offset_ns:
            self._minima.pop()
        if not self._minima or now_ns - self._minima[-1][0] >= _SAMPLE_SPACING_NS:
            self._minima.append((now_ns, offset_ns))
        return self._minima[0][1]

    def _steer(self, target_ns: int) -> None:
        """Bend the map towards a new target, from the newest media time on; what lies before stays as it was."""
        if not self._targets or self._newest_local_ns - self._targets[-1][0] >= self._window_ns:
            self._targets.append((self._newest_local_ns, target_ns))
        last = self._knots[-1]
        if target_ns == last.target_ns or self._newest_media_ns - last.media_ns < _KNOT_SPACING_NS:
            return
        offset_ns = last.offset_at(self._newest_media_ns, self._slew_ppm)
        self._knots.append(_Knot(self._newest_media_ns, offset_ns, target_ns))
        forgotten = bisect_right(self._knots, self._newest_media_ns - self._history_ns, key=_media_of) - 1
        if forgotten > 0:
            del self._knots[:forgotten]

    def _knot_at(self, ns: int, key: Callable[[_Knot], int]) -> _Knot:
        if not self._knots:
            raise InvalidInputError(
                "The publisher's clock is unknown: nothing has arrived yet.",
                remedy="Call observe() with the first packet, or check `started`, before asking for times.",
            )
        return self._knots[max(0, bisect_right(self._knots, ns, key=key) - 1)]
