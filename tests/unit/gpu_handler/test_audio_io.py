"""What comes in as audio is read whole and as declared, or refused: whatever the bytes are, and at bounded cost."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_handler.audio_io import DurationMismatchError, read_audio
from gpu_handler.engines.base import ASR_SAMPLE_RATE_HZ
from livedub.audio.codec import decode_audio, encode_audio
from livedub.errors import InvalidInputError
from livedub.sts.contract import Audio, AudioFormat
from tests.contract.bad_input import FRAGMENT_MS, RATE_HZ, flac, hour_of_silence, nan_floats, with_head

TOLERANCE_MS = 20
FLAC_HEAD_BYTES = 42


def wire(data: bytes, audio_format: AudioFormat = AudioFormat.FLAC, duration_ms: int = FRAGMENT_MS) -> Audio:
    return Audio(
        format=audio_format,
        sample_rate_hz=RATE_HZ,
        channels=1,
        duration_ms=duration_ms,
        data_base64=base64.b64encode(data).decode("ascii"),
    )


def is_sound_or_refused(audio: Audio) -> None:
    refusal, samples = None, np.zeros(0, np.float32)
    try:
        samples = read_audio(audio)
    except InvalidInputError as error:
        refusal = error
    if refusal is None:
        assert np.isfinite(samples).all()
        assert len(samples) * 1_000 / ASR_SAMPLE_RATE_HZ == pytest.approx(audio.duration_ms, abs=TOLERANCE_MS)
    else:
        assert str(refusal).startswith("audio.")
        assert refusal.remedy


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("audio_format", AudioFormat)
def test_good_audio_becomes_mono_at_the_recogniser_s_rate(
    audio_format: AudioFormat, channels: int, rate_hz: int
):
    tone = (0.5 * np.sin(np.arange(rate_hz) * 2 * np.pi * 440 / rate_hz)).astype(np.float32)
    samples = read_audio(
        encode_audio(tone if channels == 1 else np.stack([tone, tone], axis=1), rate_hz, audio_format)
    )
    assert samples.shape == (ASR_SAMPLE_RATE_HZ,)
    assert np.sqrt(np.mean(samples**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


def test_tags_in_another_encoding_do_not_matter():
    data = flac(FRAGMENT_MS)
    assert b"encoder=Lavf" in data
    latin = data.replace(b"encoder=Lavf", b"encoder=Lav\xe9", 1)
    assert len(read_audio(wire(latin))) == ASR_SAMPLE_RATE_HZ * FRAGMENT_MS // 1_000


@given(st.integers(0, len(flac(FRAGMENT_MS)) - 1))
def test_flac_cut_anywhere_is_never_half_a_fragment(length: int):
    is_sound_or_refused(wire(flac(FRAGMENT_MS)[: max(1, length)]))


@given(
    st.dictionaries(
        st.integers(FLAC_HEAD_BYTES, len(flac(FRAGMENT_MS)) - 1), st.integers(0, 255), max_size=12
    )
)
def test_damaged_flac_is_refused_or_still_whole(damage: dict[int, int]):
    data = bytearray(flac(FRAGMENT_MS))
    for position, value in damage.items():
        data[position] = value
    is_sound_or_refused(wire(bytes(data)))


@given(st.binary(min_size=1, max_size=4_000), st.sampled_from(AudioFormat))
def test_any_bytes_at_all(data: bytes, audio_format: AudioFormat):
    is_sound_or_refused(wire(data, audio_format))


@given(st.binary(max_size=200))
def test_any_bytes_behind_a_flac_head(data: bytes):
    is_sound_or_refused(wire(flac(FRAGMENT_MS)[:FLAC_HEAD_BYTES] + data))


@pytest.mark.parametrize("said_ms", [500, 2_000, 29_000])
def test_a_head_that_lies_about_the_length(said_ms: int):
    lying = with_head(flac(FRAGMENT_MS), samples=RATE_HZ * said_ms // 1_000)
    with pytest.raises(DurationMismatchError, match=f"says {said_ms} but the data holds"):
        read_audio(wire(lying, duration_ms=said_ms))


def test_an_hour_that_says_a_second_is_not_unpacked():
    audio = wire(hour_of_silence())
    assert len(decode_audio(audio)) <= RATE_HZ * 3
    with pytest.raises(DurationMismatchError, match="and more"):
        read_audio(audio)


def test_floats_that_are_no_numbers_do_not_pass_as_pcm():
    with pytest.raises(DurationMismatchError):
        read_audio(wire(nan_floats(RATE_HZ), AudioFormat.PCM_S16LE))


def test_nothing_is_no_audio():
    with pytest.raises(InvalidInputError, match="no samples"):
        read_audio(Audio.model_construct(**{**dict(wire(b"x", AudioFormat.PCM_S16LE)), "data_base64": ""}))
