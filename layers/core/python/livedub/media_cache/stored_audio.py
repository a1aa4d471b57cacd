"""Speech as it is stored: samples to and from each variant."""

from __future__ import annotations

from livedub.audio.g711 import decode_alaw, encode_alaw
from livedub.audio.pcm import Samples, float_from_s16, s16_from_float
from livedub.audio.resample import resample
from livedub.media_cache.key import Variant
from livedub.media_cache.wire import BYTES_PER_SAMPLE, SAMPLE_RATES_HZ


def encode_variant(samples: Samples, sample_rate_hz: int, variant: Variant) -> bytes:
    """Mono samples of any rate as the body of an object."""
    if variant is Variant.ALAW:
        return encode_alaw(samples, sample_rate_hz)
    return s16_from_float(resample(samples, sample_rate_hz, SAMPLE_RATES_HZ[variant]))


def decode_variant(body: bytes, variant: Variant) -> Samples:
    """The samples of an object, at `SAMPLE_RATES_HZ[variant]`; half a sample at the end is left out."""
    if variant is Variant.ALAW:
        return decode_alaw(body)
    return float_from_s16(body[: len(body) - len(body) % BYTES_PER_SAMPLE[variant]])
