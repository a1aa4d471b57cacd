from pathlib import Path

import pytest

from livedub.errors import ConfigurationError
from media_edge.mediamtx.relay.settings import RelaySettings

from .fakes import KEY, SETTINGS


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch):
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)


def test_the_defaults_stay_on_the_loopback():
    settings = RelaySettings.load()
    assert (settings.host, settings.kick_host, settings.server) == ("127.0.0.1", "", "mediamtx")
    assert settings.key() == KEY
    assert settings.media.play_base_url == "rtmp://media-1:1935"
    assert KEY.hex() not in repr(settings)


def test_the_host_names_the_relay(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RELAY_ID", "")
    monkeypatch.setattr("socket.gethostname", lambda: "media host_1.example")
    assert RelaySettings.load().relay_id == "media-host_1.example"


def test_the_first_line_of_the_key_file_signs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    path = tmp_path / "key"
    path.write_text(f"{KEY.hex()}\n{'00' * 32}\n")
    monkeypatch.setenv("RELAY_SIGNING_KEY", "")
    monkeypatch.setenv("RELAY_SIGNING_KEY_FILE", str(path))
    assert RelaySettings.load().key() == KEY
    for content in (b"", b"no hex", b"00" * 15, b"\xff"):
        path.write_bytes(content)
        with pytest.raises(ConfigurationError, match="RELAY_SIGNING_KEY"):
            RelaySettings.load().key()
    path.unlink()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        RelaySettings.load().key()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RELAY_HOST", "0.0.0.0"),  # noqa: S104
        ("RELAY_HOST", "localhost"),
        ("RELAY_API_URL", ""),
        ("RELAY_API_URL", "ftp://x"),
        ("RELAY_API_URL", "https://user@x"),
        ("RELAY_PLAY_BASE_URL", "rtmp://host/live"),
        ("RELAY_PLAY_BASE_URL", ""),
        ("RELAY_PUBLISH_BASE_URL", "http://host"),
        ("RELAY_SERVER", "srs"),
        ("RELAY_ID", "a b"),
        ("RELAY_AUTH_TIMEOUT_MS", "60000"),
        ("RELAY_API_NETWORKS", "10.0.0.0/33"),
        ("RELAY_API_NETWORKS", "10.0.0.0/16,everybody"),
        ("RELAY_API_NETWORKS", "0.0.0.0/0"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name):
        RelaySettings.load()


def test_the_two_addresses_must_differ(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RELAY_KICK_HOST", "10.0.0.1")
    monkeypatch.setenv("RELAY_KICK_PORT", "9996")
    with pytest.raises(ConfigurationError, match="RELAY_KICK_PORT must differ"):
        RelaySettings.load()
