"""Is what a voice made speech that can go on the air?

Voices fail in their own ways: not-a-number out of half precision, silence, samples scaled wrongly, words added to
short texts or a text broken off (coqui-ai/TTS issues 4125, 3598, 3516).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from livedub.audio.pcm import Samples

_SILENCE_DBFS = -50.0
_AUDIBLE_UNDER_PEAK_DB = 40.0
_FRAME_MS = 10
_FULL_SCALE = 0.9995
_CLIPPED_RUN = 3
"""Samples at full scale one after another: a single one is a peak that just reaches it."""

_MAX_CLIPPED_SHARE = 0.002
_SHORTEST, _LONGEST = 0.35, 2.2
"""Bounds of a dub's length over its expected length: the expectation is an estimate."""

_SLACK_MS = 700
"""Added to both bounds' reach: a single word's length varies by this whatever its estimate."""

_DIGIT_MS = 350
"""Added to the upper bound per digit: "1,500,000" is short in writing and long in speech."""

_LETTERS_PER_SECOND = 45
"""Nobody speaks faster, at any speed: text was left out."""


class SpeechFault(str, Enum):
    """What is wrong with synthesised speech; `NONE` where nothing is."""

    NONE = "none"
    EMPTY = "empty"
    NOT_FINITE = "not_finite"
    SILENT = "silent"
    CLIPPED = "clipped"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"


@dataclass(frozen=True, slots=True)
class SpeechVerdict:
    """The first fault found, and its figures for the log."""

    fault: SpeechFault = SpeechFault.NONE
    detail: str = ""

    @property
    def fine(self) -> bool:
        """Whether it may be heard."""
        return self.fault is SpeechFault.NONE


_FINE = SpeechVerdict()


def check_speech(
    samples: Samples, rate_hz: int, *, text: str, natural_ms: int, speed: float = 1.0
) -> SpeechVerdict:
    """Check one utterance as the voice made it, before fitting.

    Args:
        samples: mono, nominally in [-1, 1].
        rate_hz: their rate.
        text: what was to be said.
        natural_ms: how long the voice was expected to take at its natural pace; 0 for no expectation.
        speed: the speed it spoke at.
    """
    if samples.size == 0:
        return SpeechVerdict(SpeechFault.EMPTY, "no samples")
    if not np.isfinite(samples).all():
        share = 1 - float(np.isfinite(samples).mean())
        return SpeechVerdict(SpeechFault.NOT_FINITE, f"{share:.1%} of the samples are no numbers")
    peak = float(np.abs(samples).max())
    if peak < 10 ** (_SILENCE_DBFS / 20):
        return SpeechVerdict(SpeechFault.SILENT, f"peak {peak:.2g} is under {_SILENCE_DBFS:.0f} dBFS")
    clipped = _clipped_share(samples)
    if clipped > _MAX_CLIPPED_SHARE:
        return SpeechVerdict(SpeechFault.CLIPPED, f"{clipped:.1%} of the samples are at full scale")
    return _check_length(_audible_ms(samples, rate_hz, peak), text, natural_ms / speed)


def _check_length(audible_ms: float, text: str, expected_ms: float) -> SpeechVerdict:
    letters = sum(letter.isalnum() for letter in text)
    least_ms = letters * 1000 / _LETTERS_PER_SECOND - _SLACK_MS / 2
    if expected_ms > 0:
        least_ms = max(least_ms, expected_ms * _SHORTEST - _SLACK_MS / 2)
    if audible_ms < least_ms:
        return SpeechVerdict(
            SpeechFault.TOO_SHORT, f"{audible_ms:.0f} ms, expected {expected_ms:.0f} ms for {letters} letters"
        )
    most_ms = expected_ms * _LONGEST + _SLACK_MS + _DIGIT_MS * sum(letter.isdecimal() for letter in text)
    if expected_ms > 0 and audible_ms > most_ms:
        return SpeechVerdict(SpeechFault.TOO_LONG, f"{audible_ms:.0f} ms, expected {expected_ms:.0f} ms")
    return _FINE


def _clipped_share(samples: Samples) -> float:
    """Share of the samples in runs at full scale or beyond."""
    full = np.abs(samples) >= _FULL_SCALE
    edges = np.flatnonzero(np.diff(np.concatenate(([False], full, [False])).astype(np.int8)))
    runs = edges[1::2] - edges[::2]
    return float(runs[runs >= _CLIPPED_RUN].sum()) / len(samples)


def _audible_ms(samples: Samples, rate_hz: int, peak: float) -> float:
    """From the first to the last frame that is not far below the peak."""
    frame = max(1, rate_hz * _FRAME_MS // 1000)
    padded = np.pad(samples, (0, -len(samples) % frame)).reshape(-1, frame)
    loud = np.flatnonzero(np.abs(padded).max(axis=1) > peak * 10 ** (-_AUDIBLE_UNDER_PEAK_DB / 20))
    return (int(loud[-1]) - int(loud[0]) + 1) * frame * 1000 / rate_hz
