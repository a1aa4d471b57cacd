import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from livedub.media_cache.consumer_settings import MediaCacheSettings, cache_addresses


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("", ()),
        (" , ", ()),
        ("https://10.0.0.1:8443/", ("https://10.0.0.1:8443",)),
        (
            "HTTPS://Cache.Internal, https://[fd00::1]:8443",
            ("https://cache.internal", "https://[fd00::1]:8443"),
        ),
        ("http://127.0.0.1:8000,http://localhost", ("http://127.0.0.1:8000", "http://localhost")),
    ],
)
def test_addresses_are_spelled_one_way(given: str, meant: tuple[str, ...]):
    assert cache_addresses(given) == meant
    assert cache_addresses(",".join(meant)) == meant


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("http://10.0.0.1", "in the clear"),
        ("ftp://10.0.0.1", "in the clear"),
        ("10.0.0.1:8443", "no address"),
        ("https://a/media", "no address"),
        ("https://user@a", "no address"),
        ("https://a:99999", "no address"),
        ("https://a,https://A/", "twice"),
    ],
)
def test_other_addresses_are_refused(given: str, problem: str):
    with pytest.raises(ValueError, match=problem):
        cache_addresses(given)


PIECES = st.sampled_from(
    [
        "https://",
        "http://",
        "//",
        "a",
        "127.0.0.1",
        "[::1]",
        "[",
        ":",
        "8443",
        "99999",
        "/",
        "?",
        "#",
        "@",
        " ",
        ",",
        "%",
    ]
)


@given(st.text(max_size=60) | st.lists(PIECES, max_size=9).map("".join))
def test_any_text_is_read_the_same_way_twice_or_refused(text: str):
    try:
        addresses = cache_addresses(text)
    except ValueError:
        return
    assert cache_addresses(",".join(addresses)) == addresses
    assert all(re.fullmatch(r"https?://[^/?#@\s]+", address) for address in addresses)


def test_settings_come_from_the_consumer_variables(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TTS_MEDIA_CACHE_BASE_URL", "https://a:8443/,https://b:8443")
    monkeypatch.setenv("TTS_MEDIA_CACHE_UPLOAD_TOKEN", "secret")
    monkeypatch.setenv("TTS_MEDIA_CACHE_CA_BUNDLE", "LS0t")
    settings = MediaCacheSettings()
    assert settings.base_urls == ("https://a:8443", "https://b:8443")
    assert settings.upload_token.get_secret_value() == "secret"
    assert settings.ca_bundle == "LS0t"
    assert "secret" not in repr(settings)
    assert "LS0t" not in repr(settings)


def test_a_wrong_address_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TTS_MEDIA_CACHE_BASE_URL", "cache")
    with pytest.raises(ValidationError, match="media cache"):
        MediaCacheSettings()
