"""From jittery timestamps to absolute sample positions.

FLV stamps packets in whole milliseconds, rounded down, while a 1024-sample AAC frame at 48 kHz lasts 21.33 ms. Placing
each chunk where its timestamp says would tear a hole or an overlap of up to a millisecond between any two of them.
So chunks are laid end to end, and timestamps only steer: what they say on average, over about a second.

Three remedies, by the size of the error between where a chunk lies and where its timestamp wants it:

* up to `dead_band_ns`: none. Rounding jitter stays below it, so an audio clock that agrees with its timestamps is
  never resampled.
* beyond it: the chunk is stretched or shrunk by at most `max_slew_ppm` until the error is gone. This follows an audio
  clock that runs faster or slower than the timestamps beside it.
* beyond `step_ns` on average, or beyond `jump_ns` in a single chunk: samples are missing or came twice; leave a hole
  or drop the overlap, at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from livedub.errors import ConfigurationError, InvalidInputError
from livedub.timeline.clock import NS_PER_MS, ns_to_samples

_PPM = 1_000_000


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a chunk goes: drop its first `overlap` samples, resample the rest to `samples`, write at `position`.

    Attributes:
        position: absolute position of the first sample written.
        samples: how many samples to write; differs from what is left of the chunk by at most `max_slew_ppm` of it,
            rounded up to a whole sample.
        gap: samples nobody sent, directly before `position`.
        overlap: leading samples of the chunk that lie in time already written.
    """

    position: int
    samples: int
    gap: int = 0
    overlap: int = 0


class SampleAligner:
    """Lays chunks end to end on the sample grid and keeps them true to their timestamps.

    Args:
        rate_hz: sample rate of the chunks and of the positions.
        jump_ns: a single chunk this far off is a hole or an overlap, not jitter.
        max_slew_ppm: the most a chunk may be stretched; 1000 ppm is a sixtieth of a semitone, which nobody hears.
        dead_band_ns: average error that is left alone; above the millisecond that FLV rounding can make.
        step_ns: average error beyond which slewing would leave sound and picture apart for too long.
        smoothing_ns: time constant of the average.

    Raises:
        ConfigurationError: a value is not positive, or the three limits are not in rising order.
    """

    def __init__(
        self,
        rate_hz: int,
        *,
        jump_ns: int = 60 * NS_PER_MS,
        max_slew_ppm: int = 1000,
        dead_band_ns: int = 4 * NS_PER_MS,
        step_ns: int = 20 * NS_PER_MS,
        smoothing_ns: int = 1000 * NS_PER_MS,
    ) -> None:
        if min(rate_hz, max_slew_ppm, smoothing_ns) <= 0 or not 0 < dead_band_ns < step_ns <= jump_ns:
            raise ConfigurationError(
                f"rate_hz ({rate_hz}), max_slew_ppm ({max_slew_ppm}), smoothing_ns ({smoothing_ns}) and the limits"
                f" dead_band_ns ({dead_band_ns}), step_ns ({step_ns}), jump_ns ({jump_ns}) do not fit together.",
                remedy="Use positive values with dead_band_ns < step_ns <= jump_ns.",
            )
        self._rate_hz = rate_hz
        self._max_slew_ppm = max_slew_ppm
        self._jump = ns_to_samples(jump_ns, rate_hz)
        self._step = ns_to_samples(step_ns, rate_hz)
        self._dead_band = ns_to_samples(dead_band_ns, rate_hz)
        self._smoothing = ns_to_samples(smoothing_ns, rate_hz)
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next chunk goes exactly where its timestamp says (a new ingest session)."""
        self._next: int | None = None
        self._error = 0.0  # average of (timestamp's position - ours), in samples
        self._slewing = False
        self._credit = 0  # slew allowed so far, in samples times a million

    def place(self, pts_ns: int, samples: int) -> Placement:
        """Place one chunk of `samples` samples whose first is stamped `pts_ns` (media time).

        Positions never go back: a chunk that lies wholly in the past comes back with `samples` 0.

        Raises:
            InvalidInputError: the count is negative.
        """
        if samples < 0:
            raise InvalidInputError(f"samples is {samples}.", remedy="A chunk has 0 or more samples.")
        wanted = ns_to_samples(pts_ns, self._rate_hz)
        if self._next is None:
            return self._write(wanted, samples)
        error = wanted - self._next
        if abs(error) > self._jump:
            return self._correct(self._next, error, samples)
        self._error += (error - self._error) * samples / (samples + self._smoothing)
        if abs(self._error) > self._step:
            return self._correct(self._next, round(self._error), samples)
        return self._write(self._next, samples + self._slew(samples))

    def _slew(self, samples: int) -> int:
        """How many samples to add to this chunk (negative: to take away)."""
        self._slewing = abs(self._error) > (1 if self._slewing else self._dead_band)
        if not self._slewing:
            self._credit = 0
            return 0
        self._credit += samples * self._max_slew_ppm
        size = min(self._credit // _PPM, int(abs(self._error)))
        self._credit -= size * _PPM
        step = size if self._error > 0 else -size
        self._error -= step
        return step

    def _correct(self, position: int, error: int, samples: int) -> Placement:
        """Leave a hole of `error` samples at `position`, or drop that many if it is negative."""
        self._error = 0.0
        self._slewing = False
        self._credit = 0
        if error > 0:
            return self._write(position + error, samples, gap=error)
        overlap = min(-error, samples)
        return self._write(position, samples - overlap, overlap=overlap)

    def _write(self, position: int, samples: int, *, gap: int = 0, overlap: int = 0) -> Placement:
        self._next = position + samples
        return Placement(position, samples, gap, overlap)
