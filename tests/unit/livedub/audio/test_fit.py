"""Fitting against real Rubber Band: lengths to the sample, onset where the source's was."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livedub.audio import fit as fit_module
from livedub.audio.fit import fit, plan_tempo, stretch, trim_silence
from livedub.errors import MissingPrerequisiteError
from livedub.timeline.isochrony import TempoRange
from livedub.timeline.slot import Slot

RATE_HZ = 24_000


def voice(milliseconds: int, *, before_ms: int = 300, after_ms: int = 400) -> np.ndarray:
    """A buzz of known length between the silences that a voice adds."""
    time_s = np.arange(RATE_HZ * milliseconds // 1000) / RATE_HZ
    buzz = 0.3 * np.sin(2 * np.pi * 180 * time_s) + 0.1 * np.sin(2 * np.pi * 1_300 * time_s)
    before, after = np.zeros(RATE_HZ * before_ms // 1000), np.zeros(RATE_HZ * after_ms // 1000)
    return np.concatenate([before, buzz, after]).astype(np.float32)


def slot(fragment_ms: int = 4_000, start_ms: int = 300, end_ms: int = 3_700, overflow_ms: int = 0) -> Slot:
    return Slot(fragment_ms, start_ms, end_ms, fragment_ms + overflow_ms)


def onset_ms(samples: np.ndarray) -> float:
    loud = np.flatnonzero(np.abs(samples) > np.abs(samples).max() / 10)
    return float(loud[0]) * 1000 / RATE_HZ


def test_a_dub_that_fits_is_placed_on_the_source_onset_untouched():
    dub = fit(voice(3_300), RATE_HZ, slot())
    assert len(dub.samples) == RATE_HZ * 4
    assert onset_ms(dub.samples) == pytest.approx(300, abs=12)
    assert dub.tempo == pytest.approx(1.0, abs=0.02)


def test_a_dub_that_is_too_long_is_hastened_to_end_in_time():
    dub = fit(voice(5_000), RATE_HZ, slot())
    assert len(dub.samples) == RATE_HZ * 4
    assert dub.tempo == pytest.approx(5_020 / 3_700, rel=0.02)
    assert onset_ms(dub.samples) == pytest.approx(300, abs=15)


def test_it_may_run_into_the_pause_that_follows_and_no_further():
    dub = fit(voice(4_200), RATE_HZ, slot(overflow_ms=500))
    assert RATE_HZ * 4 < len(dub.samples) <= RATE_HZ * 4.5
    assert dub.tempo == pytest.approx(1.0, abs=0.05)


def test_a_dub_keeps_near_the_tempo_of_the_one_before():
    dub = fit(voice(3_300), RATE_HZ, slot(), neighbours=TempoRange(1.2, 1.4))
    assert dub.tempo == pytest.approx(1.2, rel=1e-3)
    assert len(dub.samples) == RATE_HZ * 4
    assert onset_ms(dub.samples) == pytest.approx(300, abs=15)


def test_no_word_is_cut_off_for_the_neighbour_s_sake():
    dub = fit(voice(5_000), RATE_HZ, slot(), neighbours=TempoRange(0.95, 1.08))
    assert dub.tempo == pytest.approx(5_020 / 3_700, rel=0.02)


def test_what_was_spoken_at_the_neighbour_s_tempo_is_not_stretched():
    near = TempoRange(1.2, 1.4)
    speed = plan_tempo(2_500, slot(), neighbours=near).tts_speed
    assert speed == 1.2
    samples = voice(2_400, before_ms=0, after_ms=0)
    dub = fit(samples, RATE_HZ, slot(), speed=speed, neighbours=near)
    assert dub.tempo == speed


def test_what_cannot_fit_is_cut_with_a_fade():
    dub = fit(voice(9_000), RATE_HZ, slot())
    assert len(dub.samples) == RATE_HZ * 4
    assert dub.tempo == pytest.approx(1.6, abs=0.01)
    assert abs(float(dub.samples[-1])) < 0.02


@given(spoken_ms=st.integers(200, 7_000), speed=st.sampled_from([0.9, 1.0, 1.2]))
@settings(max_examples=25, deadline=None)
def test_what_lies_there_as_spoken_is_the_whole_line_to_the_sample(spoken_ms: int, speed: float):
    samples = voice(spoken_ms)
    dub = fit(samples, RATE_HZ, slot(overflow_ms=500), speed=speed)
    spoken = trim_silence(samples, RATE_HZ)
    if dub.as_spoken is None:
        assert abs(dub.tempo - speed) > 1e-3  # it was stretched
        return
    first, end = dub.as_spoken
    assert dub.tempo == pytest.approx(speed)
    assert end - first == len(spoken)
    assert np.array_equal(dub.samples[first:end][300:-300], spoken[300:-300])  # but for the fades


def test_what_is_cut_off_is_not_there_as_spoken():
    assert fit(voice(9_000), RATE_HZ, slot()).as_spoken is None


def test_a_voice_that_stays_silent_gives_a_silent_dub():
    dub = fit(np.zeros(RATE_HZ, np.float32), RATE_HZ, slot())
    assert len(dub.samples) == RATE_HZ * 4
    assert not dub.samples.any()


@settings(max_examples=25, deadline=None)
@given(
    spoken_ms=st.integers(200, 7_000),
    fragment_ms=st.integers(1_000, 6_000),
    lead=st.floats(0, 0.6),
    overflow_ms=st.integers(0, 800),
    speed=st.floats(0.85, 1.3),
)
def test_every_dub_covers_its_fragment_and_stays_in_its_room(
    spoken_ms: int, fragment_ms: int, lead: float, overflow_ms: int, speed: float
):
    start_ms = int(fragment_ms * lead)
    where = slot(fragment_ms, start_ms, fragment_ms, overflow_ms)
    dub = fit(voice(spoken_ms), RATE_HZ, where, speed=speed)
    assert RATE_HZ * fragment_ms // 1000 <= len(dub.samples) <= RATE_HZ * where.room_end_ms // 1000 + 1
    assert np.isfinite(dub.samples).all()
    assert dub.tempo <= 1.6 + 1e-6
    assert not dub.samples[: RATE_HZ * start_ms // 1000].any()


@pytest.mark.parametrize("ratio", [0.63, 0.8, 1.15])
def test_rubber_band_keeps_pitch_and_hits_the_length(ratio: float):
    samples = voice(2_000, before_ms=0, after_ms=0)
    stretched = stretch(samples, RATE_HZ, ratio)
    assert len(stretched) == pytest.approx(len(samples) * ratio, abs=2)
    spectrum = np.abs(np.fft.rfft(stretched))
    peak_hz = float(np.argmax(spectrum)) * RATE_HZ / len(stretched)
    assert peak_hz == pytest.approx(180, abs=3)


def test_stretching_moves_the_onset_by_its_ratio_alone():
    samples = voice(2_000, before_ms=200, after_ms=100)
    assert onset_ms(stretch(samples, RATE_HZ, 0.7)) == pytest.approx(140, abs=15)


def test_stretching_leaves_no_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(fit_module, "_scratch_parent", lambda: str(tmp_path))
    stretch(voice(500), RATE_HZ, 1.2)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_rubber_band_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("rubberband") is None
    with pytest.raises(MissingPrerequisiteError, match="rubberband"):
        stretch(voice(500), RATE_HZ, 1.2)


def test_a_rubber_band_that_hangs_is_an_error(monkeypatch: pytest.MonkeyPatch):
    def hang(*_: object, **options: float) -> None:
        raise subprocess.TimeoutExpired("rubberband", options["timeout"])

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(RuntimeError, match="rubberband"):
        stretch(voice(500), RATE_HZ, 1.2)


@given(st.integers(0, 400), st.integers(50, 1_000), st.integers(0, 400))
def test_trimming_keeps_the_sound_and_drops_the_silence(before_ms: int, sound_ms: int, after_ms: int):
    trimmed = trim_silence(voice(sound_ms, before_ms=before_ms, after_ms=after_ms), RATE_HZ)
    assert sound_ms - 1 <= len(trimmed) * 1000 / RATE_HZ <= sound_ms + 32


def test_a_short_text_is_spoken_naturally_and_a_long_one_fast():
    roomy = slot(4_000, 0, 4_000)
    assert plan_tempo(2_000, roomy).tts_speed == 1.0
    assert plan_tempo(4_000, roomy).tts_speed == pytest.approx(1.0)
    assert plan_tempo(8_000, roomy).tts_speed == pytest.approx(1.3)
