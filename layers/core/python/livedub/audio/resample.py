"""Sample rate conversion by libswresample (through PyAV)."""

from __future__ import annotations

import av
import numpy as np

from livedub.audio.pcm import Samples


def resample(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    """Mono samples at another rate; the result has `round(n * to / from)` samples, with no leading delay."""
    if from_hz == to_hz or samples.size == 0:
        return samples
    resampler = av.AudioResampler(format="flt", layout="mono", rate=to_hz)
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(samples[None, :], dtype=np.float32), format="flt", layout="mono"
    )
    frame.sample_rate = from_hz
    blocks = [out.to_ndarray()[0] for out in (*resampler.resample(frame), *resampler.resample(None))]
    converted = np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.float32)
    return fit_length(converted.astype(np.float32, copy=False), round(samples.size * to_hz / from_hz))


def fit_length(samples: Samples, count: int) -> Samples:
    """Exactly `count` samples: the tail is cut, or silence is appended."""
    if len(samples) >= count:
        return samples[:count]
    padding = [(0, count - len(samples))] + [(0, 0)] * (samples.ndim - 1)
    return np.pad(samples, padding)


def slew(samples: Samples, count: int) -> Samples:
    """`samples` spread over `count` samples by linear interpolation, for corrections of a few samples per thousand."""
    if len(samples) == count or len(samples) == 0:
        return samples
    source = np.linspace(0.0, len(samples) - 1.0, count)
    grid = np.arange(len(samples))
    columns = samples[:, None] if samples.ndim == 1 else samples
    spread = np.empty((count, columns.shape[1]), dtype=np.float32)
    for channel in range(columns.shape[1]):
        spread[:, channel] = np.interp(source, grid, columns[:, channel])
    return spread[:, 0] if samples.ndim == 1 else spread
