from __future__ import annotations

import pytest

from livedub.errors import ConfigurationError
from livedub.timeline.clock import NS_PER_MS
from media_edge.worker.settings import WorkerSettings, read_settings

REQUIRED = {
    "WORKER_STREAM_ID": "stadium",
    "WORKER_INPUT_URL": "rtmp://127.0.0.1/live/stadium/in",
    "WORKER_OUTPUT_URL": "rtmp://127.0.0.1:1936/live/stadium/out?token=s3cret",
}


def read(monkeypatch: pytest.MonkeyPatch, **changes: str) -> WorkerSettings:
    for name, value in {**REQUIRED, **changes}.items():
        monkeypatch.setenv(name, value)
    return read_settings()


def test_three_variables_are_enough(monkeypatch: pytest.MonkeyPatch):
    settings = read(monkeypatch)
    assert (settings.input.app, settings.input.playpath, settings.input.port) == ("live", "stadium/in", 1935)
    assert (settings.output.playpath, settings.output.port) == ("stadium/out?token=s3cret", 1936)
    assert settings.dump_dir is None
    assert settings.forward is None


def test_the_token_never_shows(monkeypatch: pytest.MonkeyPatch):
    settings = read(monkeypatch, WORKER_STS_API_KEY="k3y-value")
    assert "s3cret" not in f"{settings!r} {settings.output}"
    assert "k3y-value" not in repr(settings)


def test_sts_listens_to_the_shared_name(monkeypatch: pytest.MonkeyPatch):
    assert read(monkeypatch, STS_SERVICE_URL="https://sts.example:8443").sts_url == "https://sts.example:8443"


def test_the_longest_fragment_follows_from_the_delay(monkeypatch: pytest.MonkeyPatch):
    settings = read(
        monkeypatch, WORKER_DELAY_MS="8000", WORKER_STS_BUDGET_MS="3000", WORKER_MIXER_LEAD_MS="400"
    )
    assert settings.fragmenter.max_ns == 4_600 * NS_PER_MS
    assert read(monkeypatch, WORKER_DELAY_MS="20000").fragmenter.max_ns == 6_000 * NS_PER_MS
    assert read(monkeypatch, WORKER_FRAGMENT_MAX_MS="2500").fragmenter.max_ns == 2_500 * NS_PER_MS


@pytest.mark.parametrize(
    ("changes", "named", "remedy"),
    [
        ({"WORKER_STREAM_ID": "a/b"}, "WORKER_STREAM_ID", "letters"),
        ({"WORKER_INPUT_URL": "http://x/live/s/in"}, "WORKER_INPUT_URL", "rtmp or rtmps or rtsp"),
        ({"WORKER_INPUT_URL": "rtmp://host/live"}, "WORKER_INPUT_URL", "STREAM_ID"),
        ({"WORKER_INPUT_URL": "rtmp://host:x/live/s/in"}, "WORKER_INPUT_URL", "Port"),
        ({"WORKER_OUTPUT_URL": "rtsp://host/live/s/out"}, "WORKER_OUTPUT_URL", "rtmp or rtmps"),
        ({"WORKER_FORWARD_URL": "third.example"}, "WORKER_FORWARD_URL", "rtmp"),
        ({"WORKER_TARGET_LANGUAGE": "English"}, "WORKER_TARGET_LANGUAGE", "ISO 639"),
        ({"WORKER_TARGET_LANGUAGE": "auto"}, "WORKER_TARGET_LANGUAGE", "ISO 639"),
        ({"WORKER_VOICE": "es/ef_dora"}, "WORKER_VOICE", "starts with its language"),
        ({"WORKER_DELAY_MS": "4000"}, "WORKER_DELAY_MS", "4400 or more"),
        ({"WORKER_FRAGMENT_MAX_MS": "5000"}, "WORKER_FRAGMENT_MAX_MS", "Raise WORKER_DELAY_MS"),
        ({"STS_SERVICE_URL": "localhost:8000"}, "STS_SERVICE_URL", "http://127.0.0.1:8000"),
        ({"WORKER_SEPARATION": "spleeter"}, "WORKER_SEPARATION", "dfn3"),
        ({"WORKER_MORE_TARGETS": "french"}, "WORKER_MORE_TARGETS", "pattern"),
        ({"WORKER_MORE_TARGETS": "[{"}, "WORKER_MORE_TARGETS", "list"),
        ({"WORKER_MORE_TARGETS": "fr,en"}, "WORKER_MORE_TARGETS", "more than once"),
        ({"WORKER_MORE_TARGETS": '[{"language": "fr", "voice": "de/x"}]'}, "WORKER_MORE_TARGETS", "speak"),
        ({"WORKER_GRACE_MS": "soon"}, "WORKER_GRACE_MS", "integer"),
    ],
)
def test_a_wrong_value_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], named: str, remedy: str
):
    with pytest.raises(ConfigurationError) as caught:
        read(monkeypatch, **changes)
    assert named in str(caught.value)
    assert remedy in str(caught.value)


def test_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch):
    for name in REQUIRED:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError) as caught:
        read_settings()
    for name in REQUIRED:
        assert name in str(caught.value)


def test_every_field_is_described():
    assert [name for name, field in WorkerSettings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize(
    "given",
    [
        "fr,de/anna",
        '[{"language": "fr"}, {"language": "de", "voice": "de/anna"}]',
        '["fr", {"language": "de", "voice": "de/anna"}]',
    ],
)
def test_more_languages_are_published_beside_the_output(monkeypatch: pytest.MonkeyPatch, given: str):
    settings = read(monkeypatch, WORKER_MORE_TARGETS=given)
    assert [(target.language, target.voice) for target in settings.more_targets] == [
        ("fr", ""),
        ("de", "de/anna"),
    ]
    assert settings.output_of("") == settings.output
    assert settings.output_of("fr").playpath == "stadium/out-fr?token=s3cret"
    assert read(monkeypatch, WORKER_MORE_TARGETS="").more_targets == []
