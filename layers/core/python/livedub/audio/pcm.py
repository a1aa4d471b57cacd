"""PCM inside livedub: float32 in [-1, 1], shape (samples, channels) for programme audio, (samples,) for mono."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

PROGRAMME_RATE_HZ = 48_000
PROGRAMME_CHANNELS = 2
STS_RATE_HZ = 16_000

_S16_SCALE = 32_768.0


def to_mono(samples: Samples) -> Samples:
    """The mid channel of (n, c) samples, as (n,)."""
    if samples.ndim == 1:
        return samples
    return samples.mean(axis=1, dtype=np.float32)


def float_from_s16(data: bytes, channels: int = 1) -> Samples:
    """Little-endian 16-bit PCM to float32; (n,) for mono, (n, channels) otherwise."""
    samples = np.frombuffer(data, dtype="<i2").astype(np.float32) / np.float32(_S16_SCALE)
    return samples if channels == 1 else samples.reshape(-1, channels)


def s16_from_float(samples: Samples) -> bytes:
    """float32 to little-endian 16-bit PCM, interleaved, clipped at full scale."""
    scaled = np.rint(np.clip(samples, -1.0, 1.0) * np.float32(_S16_SCALE - 1))
    return scaled.astype("<i2").tobytes()


def rms_dbfs(samples: Samples) -> float:
    """RMS level in dB relative to full scale; -120 for digital silence and for no samples."""
    if samples.size == 0:
        return -120.0
    mean_square = float(np.mean(np.square(samples, dtype=np.float64)))
    return max(-120.0, 10.0 * float(np.log10(mean_square + 1e-12)))


def gain_from_db(gain_db: float) -> float:
    """Linear amplitude factor of a gain in decibels."""
    return float(10.0 ** (gain_db / 20.0))
