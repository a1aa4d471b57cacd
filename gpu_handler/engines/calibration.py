"""How fast each voice speaks: a running estimate, so that one synthesis at the right speed usually suffices."""

from __future__ import annotations

import threading

import numpy as np

from gpu_handler.engines.base import Samples

_WEIGHT = 0.15
"""Of the newest utterance in the running mean."""

_LIMITS = (0.5, 2.0)
_AUDIBLE = 0.02
"""Of the peak: what lies below it at either end is silence the voice adds."""


class PaceCalibration:
    """Milliseconds per text unit (phoneme or character) of each voice, learned from what it spoke. Thread-safe."""

    def __init__(self, initial_ms_per_unit: float) -> None:
        self._initial = initial_ms_per_unit
        self._ms_per_unit: dict[str, float] = {}
        self._lock = threading.Lock()

    def estimate_ms(self, voice: str, units: int) -> int:
        """Expected duration of so many units at speed 1."""
        with self._lock:
            return round(units * self._ms_per_unit.get(voice, self._initial))

    def observe(self, voice: str, units: int, samples: Samples, sample_rate_hz: int, speed: float) -> None:
        """Learn from an utterance, its leading and trailing silence left out.

        Utterances under ten units say more about pauses than about pace and are ignored; so is a pace beyond a
        factor of two from the initial one, which no voice has.
        """
        if units < 10:
            return
        start, end = audible_range(samples)
        measured = (end - start) * 1000 / sample_rate_hz * speed / units
        if not _LIMITS[0] * self._initial <= measured <= _LIMITS[1] * self._initial:
            return
        with self._lock:
            before = self._ms_per_unit.get(voice)
            self._ms_per_unit[voice] = measured if before is None else before + _WEIGHT * (measured - before)


def audible_range(samples: Samples, *, threshold: float = _AUDIBLE) -> tuple[int, int]:
    """First and one past the last sample that reach `threshold` of the peak; (0, 0) for silence."""
    level = np.abs(samples)
    peak = float(level.max(initial=0.0))
    if peak == 0.0:
        return 0, 0
    loud = np.flatnonzero(level >= threshold * peak)
    return int(loud[0]), int(loud[-1]) + 1
