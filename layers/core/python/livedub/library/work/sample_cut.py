"""Cuts a run of sound to the sample: pure arithmetic on blocks that carry their times."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from livedub.library.work.exact_span import ExactSpan

Block = np.ndarray[Any, Any]
"""Samples of a kind, (channels, n)."""

_FORGIVEN_S = Fraction(1, 50)
"""Timestamps stray from the count of samples by what their unit rounds; beyond this there is a hole or an overlap."""
_SILENT_BLOCK = 1 << 16
_MIDDLE_OF_UNSIGNED = 128


def cut_samples(
    blocks: Iterable[tuple[Fraction, Block]], span: ExactSpan, rate_hz: int, multiple: int = 1
) -> Iterator[tuple[int, Block]]:
    """The samples whose time is in the span, gapless, each block with its position; the span's first sample is 0.

    Holes are silent, of an overlap the earlier counts. The first block's time counts; after it the samples do, unless a
    block strays too far. With a `multiple` as many samples before the span come along, at negative positions, as make
    the count such a multiple.
    """
    cut: _Cut | None = None
    for time, samples in blocks:
        if cut is None:
            cut = _Cut(time, span, rate_hz, multiple)
        yield from cut.take(time, samples)
        if cut.done:
            return


class _Cut:
    """Positions are counted from the first block's first sample."""

    def __init__(self, origin: Fraction, span: ExactSpan, rate_hz: int, multiple: int) -> None:
        self._origin = origin
        self._rate_hz = rate_hz
        self._first = math.ceil((span.start - origin) * rate_hz)
        self._last = math.ceil((span.end - origin) * rate_hz)
        self._written = self._first - (self._first - self._last) % multiple
        self._counted = 0

    @property
    def done(self) -> bool:
        """Whether nothing more belongs to the span."""
        return self._counted >= self._last

    def take(self, time: Fraction, samples: Block) -> Iterator[tuple[int, Block]]:
        """What of the next block belongs to the span, with the silence before it."""
        placed = round((time - self._origin) * self._rate_hz)
        if abs(placed - self._counted) > _FORGIVEN_S * self._rate_hz:
            self._counted = placed
        start, end = self._counted, self._counted + samples.shape[-1]
        self._counted = end
        if end <= self._written:
            return
        for count in _blocks_of(min(start, self._last) - self._written):
            yield self._at(count), _silence(samples, count)
        begin, until = self._written, min(end, self._last)
        if begin < until:
            yield self._at(until - begin), np.ascontiguousarray(samples[..., begin - start : until - start])

    def _at(self, count: int) -> int:
        """Where the next so many samples go."""
        position = self._written - self._first
        self._written += count
        return position


def _blocks_of(count: int) -> Iterator[int]:
    while count > 0:
        yield min(count, _SILENT_BLOCK)
        count -= _SILENT_BLOCK


def _silence(like: Block, count: int) -> Block:
    middle = _MIDDLE_OF_UNSIGNED if like.dtype == np.uint8 else 0
    return np.full((like.shape[0], count), middle, dtype=like.dtype)
