"""ITU-T G.711 A-law at 8 kHz, the sound of telephones: a byte per sample, through libavcodec (PyAV)."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyAV leaves the type parameter of its codecs open.

from __future__ import annotations

import av
import numpy as np

from livedub.audio.pcm import Samples, float_from_s16, s16_from_float
from livedub.audio.resample import resample

ALAW_RATE_HZ = 8_000


def encode_alaw(samples: Samples, sample_rate_hz: int) -> bytes:
    """Mono samples of any rate as headerless A-law at 8 kHz."""
    if samples.size == 0:
        return b""
    linear = np.frombuffer(s16_from_float(resample(samples, sample_rate_hz, ALAW_RATE_HZ)), dtype="<i2")
    encoder = av.CodecContext.create("pcm_alaw", "w")
    encoder.sample_rate, encoder.format, encoder.layout = ALAW_RATE_HZ, "s16", "mono"
    frame = av.AudioFrame.from_ndarray(linear.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = ALAW_RATE_HZ
    return b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))


def decode_alaw(data: bytes) -> Samples:
    """Headerless A-law as samples at 8 kHz."""
    if not data:
        return np.zeros(0, dtype=np.float32)
    decoder = av.CodecContext.create("pcm_alaw", "r")
    decoder.sample_rate, decoder.layout = ALAW_RATE_HZ, "mono"
    frames = (*decoder.decode(av.Packet(data)), *decoder.decode(None))
    return np.concatenate([float_from_s16(frame.to_ndarray().tobytes()) for frame in frames])
