"""Gains over time, as plain numbers: how one rung turns into another without a click or a dip.

A gain curve is a polyline of breakpoints at absolute sample positions. Whoever mixes interpolates between them (with
`numpy.interp(positions, xs, ys)`, say); `gain_at` does the same for one position.

Signals that are alike add in amplitude, so a fade between them is linear. Signals that have nothing in common add in
power, so a fade between them keeps the sum of squares. The original contains the background: those two cross
linearly, and the music stays where it was. The dub has nothing in common with either: its fade is of equal power.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from livedub.errors import ConfigurationError, InvalidInputError
from livedub.timeline.ladder import Rung

_CURVE_STEPS = 32  # straight pieces of a curved fade: within 0.03 % of the curve's range


class FadeShape(str, Enum):
    """How a gain goes from one value to another."""

    LINEAR = "linear"
    EQUAL_POWER = "equal_power"


@dataclass(frozen=True, slots=True)
class Breakpoint:
    """A corner of a gain curve: `gain` (amplitude factor) at the absolute sample `position`."""

    position: int
    gain: float


class GainCurve:
    """One signal's gain over all time, built by fades in the order of time."""

    __slots__ = ("_fade_start", "_points", "_shape")

    def __init__(self, gain: float, shape: FadeShape = FadeShape.LINEAR) -> None:
        self._points = [Breakpoint(0, gain)]
        self._shape = shape
        self._fade_start: int | None = None

    def fade_to(self, gain: float, *, position: int, samples: int) -> None:
        """Go to `gain`, beginning at `position` and arriving `samples` later; a fade still under way is cut short.

        Raises:
            InvalidInputError: the fade starts before the one planned last, or takes no time (that would click).
        """
        if samples < 1 or (self._fade_start is not None and position < self._fade_start):
            raise InvalidInputError(
                f"A fade of {samples} samples at position {position} cannot follow the one at {self._fade_start}.",
                remedy="Plan fades in the order of time, each at least one sample long.",
            )
        start_gain = self.gain_at(position)
        self._points = [point for point in self._points if point.position < position]
        self._fade_start = position
        steps = 1 if self._shape is FadeShape.LINEAR else min(_CURVE_STEPS, samples)
        self._points.append(Breakpoint(position, start_gain))
        for step in range(1, steps):
            offset = samples * step // steps
            self._points.append(
                Breakpoint(position + offset, _equal_power(start_gain, gain, offset / samples))
            )
        self._points.append(Breakpoint(position + samples, gain))

    def gain_at(self, position: int) -> float:
        """Gain of one sample."""
        index = bisect_right(self._points, position, key=_position_of)
        if index == 0:
            return self._points[0].gain
        if index == len(self._points):
            return self._points[-1].gain
        left, right = self._points[index - 1], self._points[index]
        share = (position - left.position) / (right.position - left.position)
        return left.gain + (right.gain - left.gain) * share

    def breakpoints(self, position: int, samples: int) -> tuple[Breakpoint, ...]:
        """The curve over `[position, position + samples)`: its ends and the corners between, positions rising."""
        end = position + samples
        inside = (point for point in self._points if position < point.position < end)
        return (Breakpoint(position, self.gain_at(position)), *inside, Breakpoint(end, self.gain_at(end)))

    def forget(self, position: int) -> None:
        """Drop what only matters before `position`, to bound memory in a stream that runs for days."""
        first = max(0, bisect_right(self._points, position, key=_position_of) - 1)
        del self._points[:first]


def _equal_power(start: float, end: float, share: float) -> float:
    """Gain after `share` of a fade; its square plus that of the opposite fade is constant."""
    angle = share * math.pi / 2
    return math.hypot(start * math.cos(angle), end * math.sin(angle))


def _position_of(point: Breakpoint) -> int:
    return point.position


@dataclass(frozen=True, slots=True)
class RungGains:
    """Amplitude factors of the three signals on one rung."""

    dub: float
    background: float
    original: float


class CrossfadePlan:
    """The gains of dub, background and original through all changes of rung.

    Args:
        gains: what each rung sounds like; every rung must be there.
        fade_samples: length of a change. 20 to 50 ms hide the cut and swallow no syllable.
        rung: the rung at the start.

    Raises:
        ConfigurationError: a rung has no gains, or fades take no time.
    """

    __slots__ = ("_fade_samples", "_gains", "_rung", "background", "dub", "original")

    def __init__(
        self, gains: Mapping[Rung, RungGains], *, fade_samples: int, rung: Rung = Rung.ORIGINAL
    ) -> None:
        missing = [name.value for name in Rung if name not in gains]
        if missing or fade_samples < 1:
            raise ConfigurationError(
                f"gains lack {', '.join(missing) or 'nothing'}; fade_samples is {fade_samples}.",
                remedy="Give the gains of every rung and fades of at least one sample.",
            )
        self._gains = dict(gains)
        self._fade_samples = fade_samples
        self._rung = rung
        start = self._gains[rung]
        self.dub = GainCurve(start.dub, FadeShape.EQUAL_POWER)
        self.background = GainCurve(start.background)
        self.original = GainCurve(start.original)

    @property
    def rung(self) -> Rung:
        """The rung that the latest change leads to."""
        return self._rung

    def switch(self, position: int, rung: Rung, gains: RungGains | None = None) -> None:
        """Begin to change to `rung` at `position`; nothing happens if that is where the plan leads already.

        `gains` is what the rung sounds like from now on, where that has changed.

        Raises:
            InvalidInputError: an earlier call planned a later change.
        """
        gains = gains or self._gains[rung]
        if rung is self._rung and gains == self._gains[rung]:
            return
        self._rung = rung
        self._gains[rung] = gains
        self.dub.fade_to(gains.dub, position=position, samples=self._fade_samples)
        self.background.fade_to(gains.background, position=position, samples=self._fade_samples)
        self.original.fade_to(gains.original, position=position, samples=self._fade_samples)

    def gains_at(self, position: int) -> RungGains:
        """The three gains at one sample."""
        return RungGains(
            self.dub.gain_at(position), self.background.gain_at(position), self.original.gain_at(position)
        )

    def forget(self, position: int) -> None:
        """Drop what only matters before `position`."""
        for curve in (self.dub, self.background, self.original):
            curve.forget(position)
