"""Numbers to SVG: waveforms, lines and axis ticks, in the units of one shared time axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from livedub.audio.pcm import PROGRAMME_RATE_HZ, Samples
from livedub.verify.track import AudioTrack

_TICKS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600)
_TICK_SPACING = 70
_LABEL_WIDTH = 32
_FLOOR = 0.012
"""Least height of a waveform, so that silence is a line and not nothing."""


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """Seconds from `start_s` to `end_s` over `width` units of the drawing."""

    start_s: float
    end_s: float
    width: float

    def x(self, at_s: float) -> float:
        """Position of a time, to a tenth of a unit."""
        return round((at_s - self.start_s) / (self.end_s - self.start_s) * self.width, 1)

    def ticks(self) -> list[tuple[float, str]]:
        """(position, label) of round times, far enough apart to be read."""
        seconds = self.end_s - self.start_s
        step = next((tick for tick in _TICKS_S if self.width * tick / seconds >= _TICK_SPACING), _TICKS_S[-1])
        first = int(np.ceil(self.start_s / step)) * step
        ticks = [(self.x(at_s), clock(at_s)) for at_s in range(first, int(self.end_s) + 1, step)]
        return [(x, label) for x, label in ticks if x <= self.width - _LABEL_WIDTH]


def clock(at_s: float) -> str:
    """Seconds as m:ss, or h:mm:ss from an hour on."""
    whole = max(0, int(at_s))
    hours, minutes, seconds = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def waveform(track: AudioTrack, axis: TimeAxis, *, shift_s: float, height: float, full_scale: float) -> str:
    """An SVG path: peaks of the mid channel around the middle of a lane that `full_scale` fills.

    `shift_s` is added to the track's times.
    """
    columns = round(axis.width)
    seconds_a_column = (axis.end_s - axis.start_s) / columns
    first = round((axis.start_s - shift_s) * PROGRAMME_RATE_HZ) - round(track.start_ns * 48e-6)
    step = seconds_a_column * PROGRAMME_RATE_HZ
    mono = track.mono()
    peaks = [
        _peak(mono, first + int(column * step), first + int((column + 1) * step), full_scale)
        for column in range(columns)
    ]
    middle = height / 2
    upper = [f"{column},{middle - peak * middle:.1f}" for column, peak in enumerate(peaks)]
    lower = [f"{column},{middle + peak * middle:.1f}" for column, peak in enumerate(peaks)]
    return "M" + " ".join([*upper, *reversed(lower)]) + "Z"


def line(points: Sequence[tuple[float, float]]) -> str:
    """An SVG path through points."""
    return "M" + " ".join(f"{x:.1f},{y:.1f}" for x, y in points) if points else ""


def _peak(mono: Samples, begin: int, end: int, full_scale: float) -> float:
    part = mono[max(0, begin) : max(0, end)]
    return min(1.0, max(_FLOOR, float(np.abs(part).max(initial=0.0)) / full_scale))
