"""Consent is asked at each use: expiry, streams, withdrawal, broken files, paths that lead elsewhere."""

import json
import logging
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_handler.voices import (
    MAX_FILE_BYTES,
    RegisteredVoice,
    Voice,
    VoiceFile,
    VoiceRefusedError,
    VoiceRegistry,
)
from livedub.errors import ConfigurationError, InvalidInputError

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
BUILT_IN = {"es": ("es/ef_dora", "es/em_alex"), "en": ("en/af_heart",)}
PERSON = "A. Person"


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def entry(**changes: Any) -> dict[str, Any]:
    return {
        "id": "es/commentator",
        "language": "es",
        "engine": "xtts",
        "speaker_reference": "recordings/commentator.wav",
        "consent": {
            "person": PERSON,
            "document": "contracts/17.pdf",
            "granted_on": "2026-01-01",
            "expires_on": "2026-12-31",
            "scope": "Live dubbing of the league into Spanish.",
        },
        "allowed_streams": ["league-*", "cup"],
        **changes,
    }


def write(folder: Path, *voices: dict[str, Any], record: bool = True) -> Path:
    path = folder / "voices.json"
    path.write_text(json.dumps({"schema_version": 1, "voices": list(voices)}))
    if record:
        for voice in voices:
            reference = folder / (voice.get("speaker_reference") or "none")
            reference.parent.mkdir(parents=True, exist_ok=True)
            reference.write_bytes(b"RIFF")
    return path


def resolve(
    registry: VoiceRegistry, voice: str = "es/commentator", stream: str = "cup", now: datetime = NOW
) -> Voice:
    return registry.resolve(voice, stream, now)


@pytest.mark.parametrize("stream", ["cup", "league-1", "league-"])
def test_a_voice_with_consent_speaks_on_its_streams(tmp_path: Path, stream: str):
    registry = VoiceRegistry.load(write(tmp_path, entry(model="xtts-v2")))
    assert resolve(registry, stream=stream) == Voice(
        "es/commentator", "es", "xtts", "xtts-v2", tmp_path / "recordings/commentator.wav"
    )


@pytest.mark.parametrize("stream", ["cup-2", "league", "", "final"])
def test_it_speaks_on_no_other(tmp_path: Path, stream: str):
    registry = VoiceRegistry.load(write(tmp_path, entry()))
    with pytest.raises(VoiceRefusedError, match=r"not allowed on stream .*allowed_streams"):
        resolve(registry, stream=stream)


def test_no_streams_named_is_no_stream(tmp_path: Path):
    registry = VoiceRegistry.load(write(tmp_path, entry(allowed_streams=[])))
    with pytest.raises(VoiceRefusedError, match="not allowed"):
        resolve(registry)


def test_a_cloned_voice_without_a_record_is_refused(tmp_path: Path):
    registry = VoiceRegistry.load(write(tmp_path, entry(consent=None)))
    with pytest.raises(VoiceRefusedError, match="no consent record"):
        resolve(registry)


@given(st.integers(-400, 400))
def test_consent_is_in_force_from_its_first_day_to_its_last(days: int):
    day = datetime(2026, 6, 30, 23, 59, tzinfo=timezone.utc) + timedelta(days=days)
    voice = RegisteredVoice.model_validate_json(json.dumps(entry()))
    assert (voice.refusal("cup", day) is None) == (day.year == 2026)


def test_the_day_is_utc_whatever_the_clock_s_zone(tmp_path: Path):
    registry = VoiceRegistry.load(write(tmp_path, entry()))
    behind = timezone(timedelta(hours=-5))
    assert resolve(registry, now=datetime(2026, 12, 31, 18, tzinfo=behind))
    with pytest.raises(VoiceRefusedError, match="had consent until 2026-12-31"):
        resolve(registry, now=datetime(2026, 12, 31, 19, tzinfo=behind))


def test_consent_expires_while_the_service_runs(tmp_path: Path):
    registry = VoiceRegistry.load(write(tmp_path, entry()))
    assert resolve(registry, now=NOW)
    with pytest.raises(VoiceRefusedError, match="had consent until 2026-12-31"):
        resolve(registry, now=datetime(2027, 1, 1, tzinfo=timezone.utc))


def test_a_refusal_is_an_input_error_and_names_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    registry = VoiceRegistry.load(write(tmp_path, entry()))
    with pytest.raises(InvalidInputError) as caught:
        resolve(registry, now=datetime(2028, 1, 1, tzinfo=timezone.utc))
    assert "config.targets.voice 'es/commentator'" in str(caught.value)
    said = f"{caught.value} {caplog.text} {registry._voices}"
    assert PERSON not in said
    assert "contracts/17" not in said


def test_an_unknown_voice_is_answered_with_those_there_are(tmp_path: Path):
    registry = VoiceRegistry.load(write(tmp_path, entry()), built_in=BUILT_IN)
    with pytest.raises(VoiceRefusedError, match="Choose one of: es/ef_dora, es/em_alex, es/commentator"):
        resolve(registry, "es/nobody")
    with pytest.raises(VoiceRefusedError, match="none for this language"):
        resolve(registry, "xx/nobody")


def test_built_in_voices_need_no_consent(tmp_path: Path):
    assert resolve(VoiceRegistry.load(None, built_in=BUILT_IN), "es/ef_dora", "any") == Voice(
        "es/ef_dora", "es"
    )
    registry = VoiceRegistry.load(write(tmp_path, entry()), built_in=BUILT_IN)
    assert resolve(registry, "en/af_heart", "any").speaker_reference is None
    assert registry.voices("en", "any", NOW) == ("en/af_heart",)


def test_a_built_in_voice_can_be_kept_to_some_streams(tmp_path: Path):
    listed = entry(
        id="es/ef_dora", engine="kokoro", speaker_reference=None, consent=None, allowed_streams=["cup"]
    )
    registry = VoiceRegistry.load(write(tmp_path, listed, record=False), built_in=BUILT_IN)
    assert registry.voices("es", "cup", NOW) == ("es/em_alex", "es/ef_dora")
    assert registry.voices("es", "final", NOW) == ("es/em_alex",)
    with pytest.raises(VoiceRefusedError, match="not allowed"):
        resolve(registry, "es/ef_dora", "final")


def test_only_voices_that_may_speak_are_listed(tmp_path: Path):
    voices = [entry(), entry(id="es/old", consent={**entry()["consent"], "expires_on": "2026-02-01"})]
    registry = VoiceRegistry.load(write(tmp_path, *voices))
    assert registry.voices("es", "cup", NOW) == ("es/commentator",)
    assert registry.voices("es", "final", NOW) == ()
    assert {voice.id for voice in registry.all()} == {"es/commentator", "es/old"}


def test_a_missing_recording_is_named_and_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    registry = VoiceRegistry.load(write(tmp_path, entry(), record=False))
    assert "recordings/commentator.wav" in caplog.text
    assert registry.voices("es", "cup", NOW) == ()
    with pytest.raises(VoiceRefusedError, match=r"lacks its speaker_reference recordings/commentator\.wav"):
        resolve(registry)


@pytest.mark.parametrize(
    "reference", ["../secret.wav", "/etc/passwd", "a/../../b.wav", "a\\..\\b.wav", "a\0b", "", "a/.."]
)
def test_a_path_out_of_the_folder_is_refused(tmp_path: Path, reference: str):
    with pytest.raises(ConfigurationError, match="speaker_reference"):
        VoiceRegistry.load(write(tmp_path, entry(speaker_reference=reference), record=False))


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path):
    secret = tmp_path / "secret.wav"
    secret.write_bytes(b"RIFF")
    folder = tmp_path / "registry"
    (folder / "recordings").mkdir(parents=True)
    (folder / "recordings/commentator.wav").symlink_to(secret)
    registry = VoiceRegistry.load(write(folder, entry(), record=False))
    with pytest.raises(VoiceRefusedError, match="outside the registry's folder"):
        resolve(registry)


def test_a_folder_is_no_recording(tmp_path: Path):
    registry = VoiceRegistry.load(write(tmp_path, entry(speaker_reference="."), record=False))
    with pytest.raises(VoiceRefusedError, match="lacks its speaker_reference"):
        resolve(registry)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"id": "en/commentator"}, "does not start with its language"),
        ({"id": "commentator"}, "voices.0.id"),
        ({"consent": {"person": PERSON}}, "voices.0.consent.document"),
        ({"consent": {**entry()["consent"], "expires_on": "2025-01-01"}}, "lies before granted_on"),
        ({"consent": {**entry()["consent"], "expires_on": "soon"}}, "voices.0.consent.expires_on"),
        ({"allowed_streams": ["league/.*"]}, "voices.0.allowed_streams"),
        ({"password": "x"}, "voices.0.password"),
    ],
)
def test_a_wrong_entry_is_named_at_start(tmp_path: Path, changes: dict[str, Any], says: str):
    path = write(tmp_path, entry(**changes))
    with pytest.raises(ConfigurationError, match=says) as caught:
        VoiceRegistry.load(path)
    assert str(path) in str(caught.value)
    assert PERSON not in str(caught.value)


def test_a_voice_registered_twice_a_missing_file_and_a_huge_one(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="registered twice: es/commentator"):
        VoiceRegistry.load(write(tmp_path, entry(), entry()))
    with pytest.raises(ConfigurationError, match=r"none\.json cannot be read"):
        VoiceRegistry.load(tmp_path / "none.json")
    huge = tmp_path / "huge.json"
    huge.write_bytes(b" " * (MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigurationError, match="larger than"):
        VoiceRegistry.load(huge)


def test_a_withdrawn_consent_ends_within_a_second(tmp_path: Path):
    clock = Clock()
    path = write(tmp_path, entry())
    registry = VoiceRegistry(path, monotonic_s=clock)
    assert resolve(registry)
    write(tmp_path, entry(consent=None))
    clock.now_s = 0.5
    assert resolve(registry)
    clock.now_s = 1.0
    with pytest.raises(VoiceRefusedError, match="no consent record"):
        resolve(registry)


def test_the_file_is_read_again_only_when_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    clock = Clock()
    registry = VoiceRegistry(write(tmp_path, entry()), monotonic_s=clock)
    monkeypatch.setattr(VoiceFile, "model_validate_json", lambda *_: pytest.fail("read again"))
    for second in range(1, 5):
        clock.now_s = float(second)
        assert resolve(registry)


@pytest.mark.parametrize("damage", ["{", None])
def test_a_file_that_breaks_refuses_its_voices_until_it_is_mended(tmp_path: Path, damage: str | None):
    clock = Clock()
    path = write(tmp_path, entry())
    registry = VoiceRegistry(path, built_in=BUILT_IN, monotonic_s=clock)
    path.unlink() if damage is None else path.write_text(damage)
    clock.now_s = 1.0
    with pytest.raises(VoiceRefusedError, match=r"not available: .*voices\.json"):
        resolve(registry)
    assert resolve(registry, "es/ef_dora")
    assert registry.problems(NOW)
    write(tmp_path, entry())
    clock.now_s = 2.0
    assert resolve(registry)
    assert registry.problems(NOW) == ()


@pytest.mark.parametrize("removed", [True, False])
def test_a_cloned_voice_that_an_engine_lists_never_becomes_a_built_in_one(tmp_path: Path, removed: bool):
    clock = Clock()
    path = write(tmp_path, entry())
    registry = VoiceRegistry(path, built_in={"es": ("es/commentator",)}, monotonic_s=clock)
    assert resolve(registry)
    if removed:
        write(tmp_path)
    else:
        path.write_text("{")
    clock.now_s = 1.0
    assert registry.voices("es", "cup", NOW) == ()
    with pytest.raises(VoiceRefusedError):
        resolve(registry)


def test_a_change_within_the_same_size_is_seen(tmp_path: Path):
    clock = Clock()
    path = write(tmp_path, entry(allowed_streams=["cup"]))
    registry = VoiceRegistry(path, monotonic_s=clock)
    write(tmp_path, entry(allowed_streams=["cap"]))
    os.utime(path, ns=(1, 1))
    clock.now_s = 1.0
    with pytest.raises(VoiceRefusedError, match="not allowed"):
        resolve(registry)


def test_the_documented_example_is_a_registry():
    text = (ROOT / "docs/voices.md").read_text()
    example = text.split("```json\n", 1)[1].split("```", 1)[0]
    assert len(VoiceFile.model_validate_json(example).voices) == 2
