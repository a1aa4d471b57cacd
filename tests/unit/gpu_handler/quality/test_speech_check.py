import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_handler.quality.speech_check import SpeechFault, check_speech

RATE_HZ = 24_000
TEXT = "Good evening and welcome."


def buzz(milliseconds: int, level: float = 0.3) -> np.ndarray:
    time_s = np.arange(RATE_HZ * milliseconds // 1000) / RATE_HZ
    return (level * np.sin(2 * np.pi * 180 * time_s)).astype(np.float32)


def fault(
    samples: np.ndarray, *, text: str = TEXT, natural_ms: int = 1_500, speed: float = 1.0
) -> SpeechFault:
    return check_speech(samples, RATE_HZ, text=text, natural_ms=natural_ms, speed=speed).fault


def test_speech_of_about_the_expected_length_is_fine():
    verdict = check_speech(buzz(1_500), RATE_HZ, text=TEXT, natural_ms=1_500)
    assert verdict.fine
    assert verdict.detail == ""


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_sample_that_is_no_number_is_enough(value: float):
    samples = buzz(1_500)
    samples[700] = value
    assert fault(samples) is SpeechFault.NOT_FINITE


def test_no_samples_and_silence():
    assert fault(np.zeros(0, np.float32)) is SpeechFault.EMPTY
    assert fault(np.zeros(RATE_HZ, np.float32)) is SpeechFault.SILENT
    assert fault(buzz(1_500, 0.002)) is SpeechFault.SILENT


def test_clipping():
    assert fault(np.clip(buzz(1_500, 3.0), -1, 1)) is SpeechFault.CLIPPED
    assert fault(buzz(1_500, 8_000.0)) is SpeechFault.CLIPPED
    assert fault(buzz(1_500, 0.99)) is SpeechFault.NONE


def test_a_few_peaks_at_full_scale_are_no_clipping():
    samples = buzz(1_500)
    samples[::2_000] = 1.0
    assert fault(samples) is SpeechFault.NONE


def test_lengths_far_from_the_expected():
    assert fault(buzz(6_000)) is SpeechFault.TOO_LONG
    assert fault(buzz(100)) is SpeechFault.TOO_SHORT


def test_silence_around_the_speech_does_not_count():
    quiet = np.zeros(RATE_HZ * 3, np.float32)
    assert fault(np.concatenate([quiet, buzz(1_500), quiet])) is SpeechFault.NONE
    assert fault(np.concatenate([quiet, buzz(80), quiet])) is SpeechFault.TOO_SHORT


def test_the_speed_counts():
    long_text = "word " * 30
    assert fault(buzz(9_000), text=long_text, natural_ms=3_000, speed=1.0) is SpeechFault.TOO_LONG
    assert fault(buzz(9_000), text=long_text, natural_ms=9_000, speed=1.3) is SpeechFault.NONE


def test_digits_are_long_in_speech():
    assert fault(buzz(4_000), text="1,500,000", natural_ms=700) is SpeechFault.NONE
    assert fault(buzz(4_000), text="one or two", natural_ms=700) is SpeechFault.TOO_LONG


def test_without_an_expectation_only_too_little_is_told():
    assert fault(buzz(20_000), natural_ms=0) is SpeechFault.NONE
    assert fault(buzz(500), text="word " * 40, natural_ms=0) is SpeechFault.TOO_SHORT


@given(st.integers(200, 6_000), st.floats(0.75, 1.5), st.floats(0.85, 1.3))
def test_an_estimate_that_is_half_off_refuses_nothing(natural_ms: int, error: float, speed: float):
    text = "a" * max(1, natural_ms // 80)
    samples = buzz(round(natural_ms * error / speed))
    assert fault(samples, text=text, natural_ms=natural_ms, speed=speed) is SpeechFault.NONE


@given(st.lists(st.floats(-2, 2, width=32), max_size=300), st.integers(0, 5_000))
def test_any_samples_get_a_verdict(samples: list[float], natural_ms: int):
    verdict = check_speech(np.array(samples, np.float32), RATE_HZ, text=TEXT, natural_ms=natural_ms)
    assert verdict.fine == (verdict.detail == "")
