"""The piece of a file that an exact cut keeps."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from livedub.library.types import TrimParameters

_MS_PER_S = 1_000
_US_PER_S = 1_000_000


@dataclass(frozen=True, slots=True)
class ExactSpan:
    """From `start` up to `end`, in seconds of the file's own timestamps, exact."""

    start: Fraction
    end: Fraction

    @classmethod
    def of(cls, zero: Fraction, parameters: TrimParameters) -> ExactSpan:
        """What is asked for of a file whose time 0 has the timestamp `zero`."""
        return cls(
            zero + Fraction(parameters.start_ms, _MS_PER_S), zero + Fraction(parameters.end_ms, _MS_PER_S)
        )

    def holds(self, stamp: int, time_base: Fraction) -> bool:
        """Whether a frame of that timestamp is in the piece."""
        return self.start <= stamp * time_base < self.end

    def shifted(self, stamp: int, time_base: Fraction) -> int:
        """The timestamp in the piece, whose time 0 is `start`."""
        return stamp - round(self.start / time_base)

    @property
    def seek_us(self) -> int:
        """Where to seek for what begins with `start`."""
        return int(self.start * _US_PER_S)
