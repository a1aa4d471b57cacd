"""XTTS on a tiny random model: the gates before it, and voices that come and go with the registry."""

from __future__ import annotations

import json
import os
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu_handler.engines import xtts
from gpu_handler.engines.base import Line
from gpu_handler.engines.xtts import XttsSynthesizer
from gpu_handler.settings import StsSettings
from livedub.errors import ConfigurationError, MissingPrerequisiteError
from tests.torch.tiny_models import SENTENCES

STUDIO = "en/xtts-ana-florence"
CLONED = "es/maria"


def registry_text(*ids: str) -> str:
    consent = {
        "person": "Maria",
        "document": "consent 7",
        "granted_on": "2026-01-01",
        "expires_on": "2099-01-01",
        "scope": "dubbing",
    }
    voices = [
        {
            "id": name,
            "language": name[:2],
            "engine": "xtts",
            "speaker_reference": "maria.wav",
            "consent": consent,
            "allowed_streams": ["*"],
        }
        for name in ids
    ]
    return json.dumps({"schema_version": 1, "voices": voices})


def recording(path: Path, seed: int) -> None:
    """Three seconds that are no silence."""
    samples = np.random.default_rng(seed).normal(0, 3_000, 3 * 22_050).astype("<i2")
    with wave.open(str(path), "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(22_050)
        writer.writeframes(samples.tobytes())


@pytest.fixture(scope="module")
def voices_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("registry")
    recording(folder / "maria.wav", 1)
    (folder / "voices.json").write_text(registry_text(CLONED))
    return folder / "voices.json"


@pytest.fixture(scope="module")
def permitted(settings: StsSettings, voices_file: Path) -> StsSettings:
    return settings.model_copy(
        update={"allow_noncommercial": True, "coqui_tos_agreed": True, "voice_registry": voices_file}
    )


@pytest.fixture(scope="module")
def engine(permitted: StsSettings) -> Iterator[XttsSynthesizer]:
    synthesizer = XttsSynthesizer(permitted)
    synthesizer.load()
    yield synthesizer
    synthesizer.close()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"allow_noncommercial": False}, "STS_ALLOW_NONCOMMERCIAL"),
        ({"coqui_tos_agreed": False}, "COQUI_TOS_AGREED"),
    ],
)
def test_without_leave_it_does_not_load(permitted: StsSettings, changes: dict[str, Any], problem: str):
    with pytest.raises(ConfigurationError, match=problem):
        XttsSynthesizer(permitted.model_copy(update=changes)).load()


def test_without_the_model_the_command_is_named(permitted: StsSettings, tmp_path: Path):
    with pytest.raises(MissingPrerequisiteError, match="livedub models fetch xtts-v2"):
        XttsSynthesizer(permitted.model_copy(update={"coqui_model_dir": tmp_path})).load()


def test_its_voices_are_the_studio_s_and_the_registry_s(engine: XttsSynthesizer):
    assert engine.voices() == {"en": (STUDIO,), "es": ("es/xtts-ana-florence", CLONED)}
    assert not engine.info.commercial_use
    assert engine.info.max_batch == 1


def test_both_kinds_of_voice_speak(engine: XttsSynthesizer):
    studio, cloned = engine.synthesize([Line(SENTENCES[0], STUDIO), Line(SENTENCES[4], CLONED, speed=9.0)])
    for speech in (studio, cloned):
        assert speech.sample_rate_hz == 24_000
        assert len(speech.samples) > 2_400
        assert np.isfinite(speech.samples).all()
    assert 1.0 < cloned.speed < 2.0


def test_a_line_beyond_the_model_s_limit_is_spoken_in_pieces(
    engine: XttsSynthesizer, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []

    def listen(text: str, *_: Any) -> Iterator[np.ndarray]:
        asked.append(text)
        yield np.ones(10, np.float32)

    monkeypatch.setattr(engine._model, "stream", listen)
    text = " ".join(SENTENCES[:4] * 2)
    (speech,) = engine.synthesize([Line(text, STUDIO)])
    assert len(asked) > 1
    assert all(len(piece) <= 250 for piece in asked)
    assert " ".join(asked) == text
    assert len(speech.samples) == 10 * len(asked)


def test_speech_that_finds_no_end_is_cut(engine: XttsSynthesizer, monkeypatch: pytest.MonkeyPatch):
    drawn: list[int] = []

    def endless(*_: Any) -> Iterator[np.ndarray]:
        while True:
            drawn.append(24_000)
            yield np.full(24_000, 0.1, np.float32)

    monkeypatch.setattr(engine._model, "stream", endless)
    (speech,) = engine.synthesize([Line("hello", STUDIO)])
    assert len(speech.samples) < 24_000 * 5
    assert sum(drawn) < len(speech.samples) + 24_000


def test_a_voice_is_derived_once_and_again_when_its_recording_changes(
    permitted: StsSettings, engine: XttsSynthesizer, voices_file: Path, monkeypatch: pytest.MonkeyPatch
):
    model = engine._model
    assert model is not None
    derived: list[str] = []
    derive = model._network.get_conditioning_latents

    def count(path: str, **options: Any) -> Any:
        derived.append(path)
        return derive(path, **options)

    monkeypatch.setattr(model._network, "get_conditioning_latents", count)
    model.keep_only(set())
    engine.synthesize([Line("hola", CLONED), Line("hola", CLONED)])
    assert len(derived) == 1
    recording(voices_file.with_name("maria.wav"), 2)
    os.utime(voices_file.with_name("maria.wav"), ns=(1, 1))
    engine.synthesize([Line("hola", CLONED)])
    assert len(derived) == 2
    assert len(model._derived) == 1


def test_a_voice_that_left_the_registry_is_forgotten(
    engine: XttsSynthesizer, monkeypatch: pytest.MonkeyPatch
):
    engine.synthesize([Line("hola", CLONED)])
    model = engine._model
    assert model is not None
    assert model._derived
    monkeypatch.setattr(engine._registry, "all", tuple)
    with pytest.raises(KeyError):
        engine.synthesize([Line("hola", CLONED)])
    assert not model._derived


def test_an_unreadable_recording_is_named(engine: XttsSynthesizer, voices_file: Path):
    voices_file.with_name("maria.wav").write_bytes(b"no audio")
    with pytest.raises(MissingPrerequisiteError, match=r"maria\.wav"):
        engine.synthesize([Line("hola", CLONED)])


@pytest.mark.parametrize("voice", ["en/xtts-nobody", "ja/xtts-ana-florence"])
def test_an_unknown_voice_is_a_key_error(engine: XttsSynthesizer, voice: str):
    with pytest.raises(KeyError):
        engine.synthesize([Line("hola", voice)])


def test_slugs_keep_to_voice_ids():
    assert xtts._slug("Claribel Dervla (É)") == "xtts-claribel-dervla"
