from pathlib import Path

import pytest

from livedub.errors import ConfigurationError
from media_edge.cache.host_settings import HostSettings
from media_edge.cache.upload_settings import UploadSettings

TOKEN = "tok-0123456789abcdef"  # noqa: S105 - of this test alone
MADE = "made-made-made-made"


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch):
    for name in (
        "MEDIA_UPLOAD_TOKEN",
        "MEDIA_UPLOAD_TOKENS",
        "MEDIA_UPLOAD_TOKENS_FILE",
        "MEDIA_AUTH_DISABLED",
        "DATABASE_URL",
    ):
        monkeypatch.delenv(name, raising=False)


def test_a_service_without_token_does_not_start():
    with pytest.raises(ConfigurationError, match="MEDIA_UPLOAD_TOKEN is missing"):
        UploadSettings.load()


def test_anybody_may_write_only_when_it_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MEDIA_AUTH_DISABLED", "true")
    assert UploadSettings.load().tokens() is None
    monkeypatch.setenv("MEDIA_UPLOAD_TOKEN", TOKEN)
    with pytest.raises(ConfigurationError, match="contradict"):
        UploadSettings.load()


def test_a_token_is_made_only_where_none_is_set(monkeypatch: pytest.MonkeyPatch):
    made = UploadSettings.load(make_token=MADE)
    assert made.upload_token.get_secret_value() == MADE
    monkeypatch.setenv("MEDIA_UPLOAD_TOKENS", f"worker={TOKEN}")
    tokens = UploadSettings.load(make_token=MADE).tokens()
    assert tokens
    assert tokens.current().names == ("worker",)


def test_the_database_is_named_as_everywhere(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MEDIA_UPLOAD_TOKEN", TOKEN)
    monkeypatch.setenv("DATABASE_URL", "postgresql://x")
    settings = UploadSettings.load()
    assert settings.database_url.get_secret_value() == "postgresql://x"
    assert "postgresql" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MEDIA_SOCKET", "/" + "x" * 120),
        ("MEDIA_BODY_DEADLINE_MS", "25000"),
        ("MEDIA_MAX_BODY_BYTES", "99999999"),
        ("MEDIA_IO_THREADS", "0"),
    ],
)
def test_what_cannot_work_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    monkeypatch.setenv("MEDIA_UPLOAD_TOKEN", TOKEN)
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name):
        UploadSettings.load()


def test_options_win_over_variables(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MEDIA_PORT", "1")
    monkeypatch.setenv("MEDIA_BIND", "10.0.0.1")
    settings = HostSettings.load(port=2, run_dir=Path("/run/x"))
    assert (settings.port, settings.bind) == (2, "10.0.0.1")
