"""Integer time: nanoseconds, sample counts, and the exact way between them.

A duration rounded to nanoseconds is wrong by up to half a nanosecond, and adding N of them is wrong by N halves:
at 47 AAC frames a second that becomes audible within a season. So positions are counted in samples, and time is
always derived from the whole count at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from livedub.errors import ConfigurationError, InvalidInputError

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


def samples_to_ns(samples: int, rate_hz: int) -> int:
    """Time that `samples` take at `rate_hz`, to the nearest nanosecond (halves go up); exact for any size."""
    return (samples * NS_PER_S + rate_hz // 2) // rate_hz


def ns_to_samples(ns: int, rate_hz: int) -> int:
    """Nearest whole number of samples in `ns` (halves go up).

    Inverse of `samples_to_ns` for every sample count, as long as a sample lasts longer than a nanosecond.
    """
    return (ns * rate_hz + NS_PER_S // 2) // NS_PER_S


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time `[start_ns, end_ns)`; the end belongs to whatever comes next.

    Raises:
        InvalidInputError: the end lies before the start.
    """

    start_ns: int
    end_ns: int

    def __post_init__(self) -> None:
        if self.end_ns < self.start_ns:
            raise InvalidInputError(
                f"end_ns ({self.end_ns}) lies before start_ns ({self.start_ns}).",
                remedy="Give the span's ends in the order of time.",
            )

    @property
    def duration_ns(self) -> int:
        """Length; 0 for an empty span."""
        return self.end_ns - self.start_ns

    def contains(self, ns: int) -> bool:
        """Whether the instant lies inside; the end does not."""
        return self.start_ns <= ns < self.end_ns

    def overlaps(self, other: Span) -> bool:
        """Whether the two share any time; spans that only touch do not."""
        return max(self.start_ns, other.start_ns) < min(self.end_ns, other.end_ns)

    def shifted(self, by_ns: int) -> Span:
        """The same span `by_ns` later."""
        return Span(self.start_ns + by_ns, self.end_ns + by_ns)


class SampleClock:
    """Time told by counting samples.

    However N samples are split over calls of `advance`, the clock shows the same nanosecond in the end, and each
    span starts exactly where the one before it ended.

    Args:
        rate_hz: samples a second.
        origin_ns: the time of sample 0.

    Raises:
        ConfigurationError: the rate is not positive.
    """

    __slots__ = ("_origin_ns", "_position", "_rate_hz")

    def __init__(self, rate_hz: int, origin_ns: int = 0) -> None:
        if rate_hz <= 0:
            raise ConfigurationError(
                f"rate_hz is {rate_hz}, but samples need a positive rate.",
                remedy="Give samples a second, such as 48000.",
            )
        self._rate_hz = rate_hz
        self._origin_ns = origin_ns
        self._position = 0

    @property
    def position(self) -> int:
        """Samples counted so far."""
        return self._position

    @property
    def now_ns(self) -> int:
        """Time of the next sample."""
        return self._origin_ns + samples_to_ns(self._position, self._rate_hz)

    def advance(self, samples: int) -> Span:
        """Count `samples` more and tell which time they cover.

        Raises:
            InvalidInputError: the count is negative; time does not run back.
        """
        if samples < 0:
            raise InvalidInputError(
                f"samples is {samples}, but a clock only runs forward.", remedy="Count samples from 0 up."
            )
        start_ns = self.now_ns
        self._position += samples
        return Span(start_ns, self.now_ns)
