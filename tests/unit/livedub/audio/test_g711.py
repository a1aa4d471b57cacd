import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.audio.g711 import ALAW_RATE_HZ, decode_alaw, encode_alaw


def reference_alaw(linear: int) -> int:
    """ITU-T G.711: sign, segment and four bits of step of a 13-bit value, every other bit inverted."""
    sign = 0x80 if linear >= 0 else 0x00
    magnitude = (linear if linear >= 0 else -linear - 1) >> 3
    segment = max(0, magnitude.bit_length() - 5)
    step = (magnitude >> max(1, segment)) & 0x0F
    return (sign | segment << 4 | step) ^ 0x55


def test_a_byte_per_sample_at_8_khz():
    samples = np.sin(np.arange(24_000, dtype=np.float32) * 0.05).astype(np.float32)
    assert len(encode_alaw(samples, 24_000)) == ALAW_RATE_HZ
    assert len(decode_alaw(bytes(range(256)))) == 256


def test_nothing_stays_nothing():
    assert encode_alaw(np.zeros(0, dtype=np.float32), 24_000) == b""
    assert len(decode_alaw(b"")) == 0


def test_every_code_survives_decoding_and_encoding():
    codes = bytes(range(256))
    # PCM's full scale is 32767 for the encoder and 32768 for the decoder, so the loudest codes may not be told apart.
    decoded = decode_alaw(codes) * np.float32(32_768 / 32_767)
    assert encode_alaw(decoded.astype(np.float32), ALAW_RATE_HZ) == codes


@given(st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=50))
def test_coding_is_as_near_as_a_law_allows(values: list[int]):
    samples = np.array(values, dtype=np.float32) / np.float32(32_768)
    decoded = decode_alaw(encode_alaw(samples, ALAW_RATE_HZ))
    # Half a step: 1/32 of the magnitude in every segment but the first.
    assert np.all(np.abs(decoded - samples) <= np.maximum(np.abs(samples) / 31, 20 / 32_768))


@pytest.mark.parametrize("linear", [0, 1, -1, 15, 16, 1_000, -1_000, 8_000, -8_000, 32_000, -32_000])
def test_codes_are_those_of_the_recommendation(linear: int):
    (code,) = encode_alaw(np.array([linear / 32_767], dtype=np.float32), ALAW_RATE_HZ)
    assert code in {reference_alaw(linear), reference_alaw(linear - 1), reference_alaw(linear + 1)}
