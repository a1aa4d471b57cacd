import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_handler.engines.calibration import PaceCalibration, audible_range


def spoken(milliseconds: float, rate_hz: int = 24_000) -> np.ndarray:
    """Sound between half a second of silence on both sides."""
    silence = np.zeros(rate_hz // 2, dtype=np.float32)
    return np.concatenate([silence, np.full(int(rate_hz * milliseconds / 1000), 0.5, np.float32), silence])


def test_the_first_estimate_is_the_initial_pace():
    assert PaceCalibration(50.0).estimate_ms("es/one", 40) == 2_000


def test_it_learns_the_pace_of_each_voice_apart():
    pace = PaceCalibration(50.0)
    for _ in range(20):
        pace.observe("es/slow", 40, spoken(2_800), 24_000, 1.0)
    assert pace.estimate_ms("es/slow", 40) == pytest.approx(2_800, rel=0.01)
    assert pace.estimate_ms("es/other", 40) == 2_000


def test_speed_is_taken_out_of_what_it_learns():
    pace = PaceCalibration(50.0)
    pace.observe("es/one", 40, spoken(1_600), 24_000, 1.25)
    assert pace.estimate_ms("es/one", 40) == pytest.approx(2_000, rel=0.01)


@pytest.mark.parametrize(("units", "milliseconds"), [(5, 400), (40, 30_000), (40, 0)])
def test_what_cannot_be_a_pace_is_ignored(units: int, milliseconds: int):
    pace = PaceCalibration(50.0)
    pace.observe("es/one", units, spoken(milliseconds), 24_000, 1.0)
    assert pace.estimate_ms("es/one", 40) == 2_000


@given(st.integers(0, 500), st.integers(1, 500), st.integers(0, 500))
def test_audible_range_is_the_sound_between_the_silences(before: int, sound: int, after: int):
    samples = np.zeros(before + sound + after, dtype=np.float32)
    samples[before : before + sound] = 0.3
    assert audible_range(samples) == (before, before + sound)


def test_silence_has_no_audible_range():
    assert audible_range(np.zeros(100, dtype=np.float32)) == (0, 0)
