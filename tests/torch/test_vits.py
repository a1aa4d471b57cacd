"""Coqui's VITS on tiny random voices."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from TTS.tts.models.vits import Vits

from gpu_handler.engines.base import Line
from gpu_handler.engines.coqui import VitsSynthesizer
from gpu_handler.settings import StsSettings
from livedub.errors import ConfigurationError, MissingPrerequisiteError
from tests.torch import tiny_voices
from tests.torch.tiny_models import SENTENCES

VOICE = "es/vits-css10"
SPANISH = SENTENCES[4:]


@pytest.fixture(scope="module")
def vits(settings: StsSettings) -> VitsSynthesizer:
    engine = VitsSynthesizer(settings)
    engine.load()
    return engine


def lengths(engine: VitsSynthesizer, *lines: Line) -> list[int]:
    return [len(speech.samples) for speech in engine.synthesize(lines)]


def test_a_folder_is_a_voice_and_so_is_each_of_its_speakers(vits: VitsSynthesizer):
    assert vits.voices() == {"en": ("en/vits-vctk-p225", "en/vits-vctk-p-226"), "es": (VOICE,)}


def test_speech_has_the_model_s_rate_and_is_sound(vits: VitsSynthesizer):
    (speech,) = vits.synthesize([Line(SPANISH[0], VOICE)])
    assert speech.sample_rate_hz == tiny_voices.VITS_RATE_HZ
    assert speech.samples.dtype == np.float32
    assert np.isfinite(speech.samples).all()
    assert 0 < np.abs(speech.samples).max() <= 1.0


def test_a_line_is_as_long_in_a_batch_as_alone(vits: VitsSynthesizer):
    lines = [Line(text, VOICE) for text in SPANISH]
    assert lengths(vits, *lines) == [lengths(vits, line)[0] for line in lines]
    assert len(set(lengths(vits, *lines))) > 1


def test_each_line_of_a_batch_has_its_own_speed(vits: VitsSynthesizer):
    slow, plain, quick, beyond = vits.synthesize(
        [Line(SPANISH[0], VOICE, speed) for speed in (0.8, 1.0, 1.25, 9.0)]
    )
    assert len(slow.samples) > len(plain.samples) > len(quick.samples) >= len(beyond.samples)
    assert (slow.speed, plain.speed, quick.speed) == (0.8, 1.0, 1.25)
    assert 1.25 < beyond.speed < 2.0
    assert lengths(vits, Line(SPANISH[0], VOICE)) == [len(plain.samples)]


def test_a_seed_renders_the_same_and_another_seed_something_else(vits: VitsSynthesizer):
    first, again, other = (vits.synthesize([Line(SPANISH[0], VOICE, seed=seed)])[0] for seed in (1, 1, 2))
    assert np.array_equal(first.samples, again.samples)
    assert not np.array_equal(first.samples, other.samples)


def test_speakers_of_one_model_sound_different(vits: VitsSynthesizer):
    one, other = vits.synthesize([Line("hello", "en/vits-vctk-p225"), Line("hello", "en/vits-vctk-p-226")])
    size = min(len(one.samples), len(other.samples))
    assert not np.array_equal(one.samples[:size], other.samples[:size])


def test_what_the_model_cannot_pronounce_is_silence_of_no_length(vits: VitsSynthesizer):
    assert lengths(vits, Line("", VOICE), Line("漢字", VOICE), Line(SPANISH[0], VOICE))[:2] == [0, 0]
    assert lengths(vits, Line(" ", VOICE)) == [0]


def test_an_unknown_voice_is_a_key_error(vits: VitsSynthesizer):
    with pytest.raises(KeyError):
        vits.synthesize([Line("hola", "es/nobody")])


def test_the_estimate_learns_from_what_was_spoken(settings: StsSettings):
    engine = VitsSynthesizer(settings)
    engine.load()
    before = engine.natural_duration_ms(SPANISH[0], voice=VOICE)
    (speech,) = engine.synthesize([Line(SPANISH[0], VOICE)])
    actual = len(speech.samples) * 1000 / speech.sample_rate_hz
    after = engine.natural_duration_ms(SPANISH[0], voice=VOICE)
    # noise of a pace that no voice has teaches nothing
    assert abs(after - actual) <= abs(before - actual)


def registry(folder: Path, **entry: Any) -> Path:
    path = folder / "voices.json"
    entry = {"language": "es", "engine": "coqui", "allowed_streams": ["*"]} | entry
    path.write_text(json.dumps({"schema_version": 1, "voices": [entry]}))
    return path


def test_a_registered_voice_is_another_name(settings: StsSettings, tmp_path: Path):
    path = registry(tmp_path, id="es/newsreader", model="coqui-vits-es-css10")
    engine = VitsSynthesizer(settings.model_copy(update={"voice_registry": path}))
    engine.load()
    assert "es/newsreader" in engine.voices()["es"]
    assert lengths(engine, Line(SPANISH[0], "es/newsreader")) == lengths(engine, Line(SPANISH[0], VOICE))


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"id": "es/newsreader", "model": "coqui-vits-es-nothing"}, "coqui-vits-es-nothing"),
        ({"id": "es/newsreader", "model": "coqui-vits-es-css10", "speaker_reference": "a.wav"}, "imitate"),
    ],
)
def test_a_registered_voice_that_cannot_be_is_named(
    settings: StsSettings, tmp_path: Path, entry: dict[str, Any], problem: str
):
    engine = VitsSynthesizer(settings.model_copy(update={"voice_registry": registry(tmp_path, **entry)}))
    with pytest.raises(ConfigurationError, match=problem):
        engine.load()


def test_a_folder_without_voices_names_the_command(settings: StsSettings, tmp_path: Path):
    with pytest.raises(MissingPrerequisiteError, match="livedub models fetch"):
        VitsSynthesizer(settings.model_copy(update={"coqui_model_dir": tmp_path})).load()


def test_a_damaged_checkpoint_is_named(settings: StsSettings, voices_home: Path, tmp_path: Path):
    shutil.copytree(voices_home / "coqui-vits-es-css10", tmp_path / "coqui-vits-es-css10")
    (tmp_path / "coqui-vits-es-css10" / "model_file.pth").write_bytes(b"no checkpoint")
    with pytest.raises(MissingPrerequisiteError, match="coqui-vits-es-css10"):
        VitsSynthesizer(settings.model_copy(update={"coqui_model_dir": tmp_path})).load()


def test_only_the_discriminator_makes_a_small_vits_large():
    """It serves training alone; left in, a model of 0.6 million parameters has 47."""

    def parameters(*, discriminator: bool) -> int:
        config = tiny_voices.vits_config()
        config.model_args.init_discriminator = discriminator
        return sum(values.numel() for values in Vits.init_from_config(config).parameters())

    assert parameters(discriminator=False) < 1_000_000
    assert parameters(discriminator=True) > 40_000_000


def test_audio_settings_come_by_either_name_of_their_class(voices_home: Path):
    """coqui-tts 0.28 dropped VitsAudioConfig; a config written with one is read with the other."""
    written = json.loads((voices_home / "coqui-vits-es-css10" / "config.json").read_text())
    assert written["audio"]["sample_rate"] == tiny_voices.VITS_RATE_HZ
    assert tiny_voices.VitsAudioConfig.__name__ in {"VitsAudioConfig", "BaseAudioConfig"}
