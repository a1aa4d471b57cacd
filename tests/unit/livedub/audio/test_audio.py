"""PCM, resampling, codecs, the ring, activity and separation."""

import base64

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livedub.audio.activity import SpeechActivity
from livedub.audio.codec import decode_audio, encode_audio
from livedub.audio.pcm import float_from_s16, gain_from_db, rms_dbfs, s16_from_float, to_mono
from livedub.audio.resample import fit_length, resample, slew
from livedub.audio.ring import SampleRing
from livedub.audio.separation import DeepFilterSeparator
from livedub.errors import InvalidInputError
from livedub.sts.contract import Audio, AudioFormat


def tone(count: int, rate_hz: int, frequency_hz: float = 440.0, peak: float = 0.5) -> np.ndarray:
    return (peak * np.sin(2 * np.pi * frequency_hz * np.arange(count) / rate_hz)).astype(np.float32)


def test_sixteen_bit_round_trip_is_exact_to_half_a_step():
    samples = tone(1000, 16_000)
    assert np.abs(float_from_s16(s16_from_float(samples)) - samples).max() <= 1.01 / 32_768


def test_full_scale_and_beyond_is_clipped_not_wrapped():
    assert np.frombuffer(s16_from_float(np.array([2.0, -2.0], np.float32)), "<i2").tolist() == [
        32_767,
        -32_767,
    ]


def test_levels_of_known_signals():
    assert rms_dbfs(np.zeros(480, np.float32)) == -120.0
    assert rms_dbfs(tone(48_000, 48_000, peak=1.0)) == pytest.approx(-3.01, abs=0.01)
    assert gain_from_db(-20.0) == pytest.approx(0.1)
    assert to_mono(np.array([[1.0, 0.0]], np.float32)).tolist() == [0.5]


@pytest.mark.parametrize(("from_hz", "to_hz"), [(48_000, 16_000), (24_000, 48_000), (44_100, 48_000)])
def test_resampling_keeps_time_and_level(from_hz: int, to_hz: int):
    converted = resample(tone(from_hz, from_hz), from_hz, to_hz)
    expected = tone(to_hz, to_hz)
    assert len(converted) == to_hz
    inner = slice(to_hz // 10, -to_hz // 10)
    assert np.abs(converted[inner] - expected[inner]).max() < 0.01


def test_fit_length_pads_and_trims():
    assert fit_length(np.ones(3, np.float32), 5).tolist() == [1, 1, 1, 0, 0]
    assert fit_length(np.ones((3, 2), np.float32), 2).shape == (2, 2)


def test_slew_by_one_sample_stays_close_to_the_signal():
    stereo = np.stack([tone(1024, 48_000)] * 2, axis=1)
    spread = slew(stereo, 1025)
    assert spread.shape == (1025, 2)
    assert np.abs(spread[:1024] - stereo).max() < 0.04


@pytest.mark.parametrize("audio_format", list(AudioFormat))
@pytest.mark.parametrize("rate_hz", [16_000, 24_000])
def test_contract_audio_round_trips(audio_format: AudioFormat, rate_hz: int):
    samples = tone(rate_hz * 2 + 7, rate_hz)
    decoded = decode_audio(encode_audio(samples, rate_hz, audio_format))
    assert len(decoded) == len(samples)
    assert np.abs(decoded - samples).max() < 1e-3


def test_stereo_is_downmixed():
    stereo = np.stack([tone(1600, 16_000), np.zeros(1600, np.float32)], axis=1)
    decoded = decode_audio(encode_audio(stereo, 16_000, AudioFormat.FLAC))
    assert np.abs(decoded - stereo[:, 0] / 2).max() < 1e-3


def wire(data: bytes | str, audio_format: AudioFormat) -> Audio:
    text = data if isinstance(data, str) else base64.b64encode(data).decode()
    return Audio(format=audio_format, sample_rate_hz=16_000, channels=1, duration_ms=10, data_base64=text)


def test_broken_audio_names_the_field():
    with pytest.raises(InvalidInputError, match="not base64"):
        decode_audio(wire("@@@", AudioFormat.PCM_S16LE))
    with pytest.raises(InvalidInputError, match="whole"):
        decode_audio(wire(b"abc", AudioFormat.PCM_S16LE))
    with pytest.raises(InvalidInputError, match="not FLAC"):
        decode_audio(wire(b"this is no flac file at all", AudioFormat.FLAC))


def test_flac_at_another_rate_than_declared_is_refused():
    flac = encode_audio(tone(2400, 24_000), 24_000, AudioFormat.FLAC)
    with pytest.raises(InvalidInputError, match="24000"):
        decode_audio(flac.model_copy(update={"sample_rate_hz": 16_000}))


writes = st.lists(st.tuples(st.integers(-20, 60), st.integers(1, 40)), min_size=1, max_size=30)


@given(writes)
def test_ring_reads_what_a_plain_array_would_hold(steps: list[tuple[int, int]]):
    capacity, base = 50, 1_000
    ring = SampleRing(capacity, 1)
    truth: dict[int, float] = {}
    first = end = base
    for number, (offset, count) in enumerate(steps, start=1):
        position = max(first, end + offset)
        ring.write(position, np.full((count, 1), float(number), np.float32))
        if number == 1:
            first = position
        for index in range(position, position + count):
            truth[index] = float(number)
        end = max(end, position + count)
        kept = [
            truth.get(index, 0.0) if index >= max(end - capacity, first) else None
            for index in range(end - 80, end + 10)
        ]
        read = ring.read(end - 80, 90)[:, 0].tolist()
        for expected, got in zip(kept, read, strict=True):
            if expected is not None:
                assert got == expected
    assert ring.end == end


def test_ring_reads_silence_outside_what_it_keeps():
    ring = SampleRing(10, 2)
    ring.write(100, np.ones((20, 2), np.float32))
    assert ring.read(105, 10)[:, 0].tolist() == [0] * 5 + [1] * 5
    assert ring.read(118, 4)[:, 0].tolist() == [1, 1, 0, 0]


def test_activity_hears_bursts_over_a_noise_bed():
    rng = np.random.default_rng(7)
    bed = (rng.standard_normal(48_000 * 6) * 0.003).astype(np.float32)
    speech = bed.copy()
    for start in (1, 3, 5):
        speech[start * 48_000 : start * 48_000 + 24_000] += tone(24_000, 48_000, 200.0)
    detector = SpeechActivity()
    flags = [detector.push(speech[i : i + 960]).speech for i in range(0, len(speech), 960)]
    for start in (1, 3, 5):
        first, last = start * 50, start * 50 + 25
        assert all(flags[first + 2 : last])
        assert not any(flags[first - 10 : first])
        assert not any(flags[last + 6 : last + 20])


def test_silence_is_never_speech():
    detector = SpeechActivity()
    assert not any(detector.push(np.zeros(960, np.float32)).speech for _ in range(100))


def test_separation_delay_is_what_the_library_really_has():
    separator = DeepFilterSeparator()
    rng = np.random.default_rng(3)
    # Voiced bursts: harmonics of a gliding pitch under a syllable-like envelope pass the model nearly untouched.
    t = np.arange(48_000 * 4) / 48_000
    pitch = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * t)) / 48_000
    voice = sum(np.sin(n * pitch) / n for n in range(1, 20)) * np.clip(np.sin(2 * np.pi * 2.5 * t), 0, 1)
    mono = (0.1 * voice + 0.0005 * rng.standard_normal(t.size)).astype(np.float32)
    chunks = [separator.process(mono[i : i + 1111]) for i in range(0, mono.size, 1111)]
    separator.close()
    separator.close()
    speech = np.concatenate(chunks)
    lags = np.arange(0, 4_800)
    reference = mono[96_000:150_000]
    scores = [float(np.dot(speech[96_000 + lag : 150_000 + lag], reference)) for lag in lags[::8]]
    assert abs(int(lags[::8][int(np.argmax(scores))]) - separator.delay_samples) <= 16


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 3_000), min_size=1, max_size=12))
def test_separator_gives_whole_frames_for_any_split(sizes: list[int]):
    separator = DeepFilterSeparator()
    try:
        given_samples = produced = 0
        for size in sizes:
            given_samples += size
            produced += len(separator.process(np.zeros(size, np.float32)))
            assert produced == given_samples // 480 * 480
    finally:
        separator.close()
