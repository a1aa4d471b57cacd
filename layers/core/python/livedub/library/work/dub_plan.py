"""Where a file is cut so that several can dub it: in the pauses of its speech, about evenly. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from livedub.library.types import Wire
from livedub.timeline.clock import Span

_STRAY = 4
"""A range may be shorter or longer by this part of its length."""


class DubRange(Wire):
    """A range of fragments, in samples of the programme (48 kHz).

    Attributes:
        index: its place, from 0.
        start: first sample.
        end: the one behind the last.
        anchor_ns: timestamp of a frame before it, from which on the file is read for it.
        anchor: the position of that frame's first sample, which a file without exact timestamps does not tell again.
    """

    index: int = Field(ge=0)
    start: int
    end: int
    anchor_ns: int
    anchor: int


class DubPlan(Wire):
    """The ranges of a file, in order, without holes."""

    ranges: tuple[DubRange, ...] = Field(min_length=1)


def borders(fragments: Sequence[Span], first_ns: int, last_ns: int, range_ns: int) -> list[int]:
    """Where a new range begins: in the longest pause around each `range_ns`, never within a fragment.

    A range is longer than a quarter more than `range_ns` only where one fragment makes it so.

    Args:
        fragments: rising, not overlapping, between `first_ns` and `last_ns`.
        first_ns: start of the programme.
        last_ns: its end.
        range_ns: length that a range should have.
    """
    starts = [*(span.start_ns for span in fragments), last_ns]
    ends = [first_ns, *(span.end_ns for span in fragments)]
    pauses = list(zip(ends, starts, strict=True))
    found: list[int] = []
    begin = first_ns
    while last_ns - begin > range_ns + range_ns // _STRAY:
        border = _border(pauses, begin + range_ns - range_ns // _STRAY, begin + range_ns + range_ns // _STRAY)
        if border is None or border >= last_ns:
            break
        found.append(border)
        begin = border
    return found


def _border(pauses: Sequence[tuple[int, int]], early: int, late: int) -> int | None:
    """The middle of what lies longest between fragments from `early` to `late`; else the first pause behind."""
    within = [(max(start, early), min(end, late)) for start, end in pauses if end >= early and start <= late]
    if within:
        start, end = max(within, key=lambda pause: pause[1] - pause[0])
        return (start + end) // 2
    return next((start for start, _ in pauses if start > late), None)
