from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livedub.audio.codec import encode_audio
from livedub.sts.contract import Audio, AudioFormat, ErrorCode
from livedub.sts.payload import AudioPayloadError, check_payload

FORMATS = st.sampled_from(AudioFormat)


def clip(audio_format: AudioFormat, samples: int = 1_600, rate_hz: int = 16_000, channels: int = 1) -> Audio:
    shape = (samples,) if channels == 1 else (samples, channels)
    tone = np.random.default_rng(7).uniform(-0.5, 0.5, shape).astype(np.float32)
    return encode_audio(tone, rate_hz, audio_format)


def refused(audio: Audio) -> AudioPayloadError:
    with pytest.raises(AudioPayloadError) as caught:
        check_payload(audio, field="audio")
    assert "audio." in str(caught.value) or "audio " in str(caught.value)
    assert caught.value.remedy
    return caught.value


@settings(deadline=None)
@given(
    FORMATS,
    st.integers(8, 4_000),
    st.sampled_from((8_000, 16_000, 24_000, 44_100, 48_000)),
    st.integers(1, 2),
)
def test_what_the_codec_writes_passes(audio_format: AudioFormat, samples: int, rate_hz: int, channels: int):
    check_payload(clip(audio_format, samples, rate_hz, channels), field="audio")


@pytest.mark.parametrize("audio_format", AudioFormat)
@pytest.mark.parametrize("off_ms", [-21, 21, 900])
def test_a_length_other_than_declared_is_a_duration_mismatch(audio_format: AudioFormat, off_ms: int):
    audio = clip(audio_format)
    wrong = audio.model_copy(update={"duration_ms": audio.duration_ms + off_ms})
    error = refused(wrong)
    assert error.code is ErrorCode.DURATION_MISMATCH
    assert f"says {wrong.duration_ms} but the audio lasts 100 ms" in error.message


@pytest.mark.parametrize("update", [{"sample_rate_hz": 24_000}, {"channels": 2}])
def test_flac_of_another_shape_than_declared_is_refused(update: dict[str, int]):
    assert refused(clip(AudioFormat.FLAC).model_copy(update=update)).code is ErrorCode.INVALID_INPUT


@pytest.mark.parametrize("audio_format", AudioFormat)
@pytest.mark.parametrize("data", ["%%%%", "AAA", "AAAA\nAAAA", "é" * 8])
def test_broken_base64_is_refused(audio_format: AudioFormat, data: str):
    audio = clip(audio_format).model_copy(update={"data_base64": data})
    assert "is not base64" in refused(audio).message


def test_half_a_sample_is_refused():
    audio = clip(AudioFormat.PCM_S16LE).model_copy(update={"data_base64": base64.b64encode(b"abc").decode()})
    assert "not a multiple of 2" in refused(audio).message


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=200))
def test_bytes_that_are_not_flac_are_refused(data: bytes):
    audio = clip(AudioFormat.FLAC).model_copy(update={"data_base64": base64.b64encode(data).decode()})
    assert "is not a FLAC stream" in refused(audio).message


def test_flac_of_unknown_length_is_left_to_the_decoder():
    audio = clip(AudioFormat.FLAC)
    data = bytearray(base64.b64decode(audio.data_base64))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    check_payload(
        audio.model_copy(update={"data_base64": base64.b64encode(bytes(data)).decode()}), field="audio"
    )
