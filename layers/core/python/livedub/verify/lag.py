"""Lag between two recordings of one programme, by generalized cross-correlation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from livedub.audio.pcm import PROGRAMME_RATE_HZ, Samples

_BAND_HZ = (150.0, 8_000.0)
_PEAK_NEIGHBOURHOOD = PROGRAMME_RATE_HZ // 500
_SURROUNDINGS = PROGRAMME_RATE_HZ // 2


@dataclass(frozen=True, slots=True)
class Lag:
    """How many samples (48 kHz) `signal` trails `reference`, and how far that peak stands out.

    `clarity` is the height of the correlation peak over the RMS of the correlation within half a second around it;
    unrelated signals reach 4 to 6, the expected maximum of ten thousand to ten million random values.
    """

    samples: float
    clarity: float


def find_lag(reference: Samples, signal: Samples, reach_samples: int, *, whiten: bool = True) -> Lag | None:
    """Lag of mono `signal` against mono `reference` within +-`reach_samples`; None where one of them is silent.

    With `whiten` every frequency between 150 Hz and 8 kHz counts alike (GCC-PHAT, Knapp and Carter 1976): the peak is sharp
    even for music, whose plain correlation repeats with its beat, and survives another sound laid over one of the
    two. Without, loud frequencies count more.
    """
    length = max(len(reference), len(signal)) + reach_samples
    size = 1 << (length - 1).bit_length()
    cross = np.fft.rfft(signal, size) * np.conj(np.fft.rfft(reference, size))
    magnitude = np.abs(cross)
    strongest = float(magnitude.max(initial=0.0))
    if strongest <= 0.0:
        return None
    frequency_hz = np.fft.rfftfreq(size, 1 / PROGRAMME_RATE_HZ)
    cross[(frequency_hz < _BAND_HZ[0]) | (frequency_hz > _BAND_HZ[1])] = 0
    if whiten:
        cross /= magnitude + 1e-9 * strongest
    correlation = np.fft.irfft(cross, size)
    around = np.concatenate((correlation[-reach_samples:], correlation[: reach_samples + 1]))
    peak = int(np.argmax(around))
    return Lag(peak - reach_samples + _vertex(around, peak), _clarity(around, peak))


def delayed(samples: Samples, by_samples: float) -> Samples:
    """The same signal (n,) or (n, c) later by a fraction of samples: a phase shift of its spectrum, ends wrapped."""
    spectrum = np.fft.rfft(samples, axis=0)
    turns = np.fft.rfftfreq(len(samples)) * by_samples
    shift = np.exp(-2j * np.pi * turns)
    moved = np.fft.irfft(spectrum * (shift if samples.ndim == 1 else shift[:, None]), len(samples), axis=0)
    return moved.astype(np.float32)


def _vertex(values: NDArray[np.float64], peak: int) -> float:
    """Offset of the parabola's vertex through the peak and its neighbours, in (-0.5, 0.5)."""
    if peak in {0, len(values) - 1}:
        return 0.0
    left, top, right = (float(values[peak + step]) for step in (-1, 0, 1))
    curvature = left - 2 * top + right
    return 0.5 * (left - right) / curvature if curvature else 0.0


def _clarity(values: NDArray[np.float64], peak: int) -> float:
    before = values[max(0, peak - _SURROUNDINGS) : max(0, peak - _PEAK_NEIGHBOURHOOD)]
    after = values[peak + _PEAK_NEIGHBOURHOOD : peak + _SURROUNDINGS]
    elsewhere = np.concatenate((before, after))
    spread = float(np.sqrt(np.mean(np.square(elsewhere)))) if elsewhere.size else 0.0
    return float(values[peak]) / spread if spread > 0 else 0.0
