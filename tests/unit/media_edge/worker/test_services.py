"""What an agent says of the services that its workers use."""

from __future__ import annotations

from typing import Any

import pytest

from livedub.errors import ConfigurationError
from media_edge.worker.services import read_media_cache, same_sts, sts_fields, with_sts
from media_edge.worker.settings import read_settings
from media_edge.worker.supervised import read_assignment

GIVEN: dict[str, Any] = {
    "stream_id": "stadium",
    "input_url": "rtmp://127.0.0.1/live/stadium/in",
    "output_url": "rtmp://127.0.0.1/live/stadium/out",
}
SERVICES = {
    "STS_SERVICE_URL": "runpod://abc",
    "STS_API_KEY": "k",
    "TTS_MEDIA_CACHE_BASE_URL": "https://10.0.1.30:8443",
    "TTS_MEDIA_CACHE_UPLOAD_TOKEN": "t",
    "SOMETHING_ELSE": "x",
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STS_SERVICE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("TTS_MEDIA_CACHE_LOOKUP_MS", "30")


def test_the_first_line_wins_over_the_environment():
    settings, _ = read_assignment({"settings": GIVEN, "timeline": None, "services": SERVICES})
    assert (settings.sts_url, settings.sts_api_key.get_secret_value()) == ("runpod://abc", "k")
    settings, _ = read_assignment({"settings": GIVEN, "timeline": None})
    assert settings.sts_url == "http://127.0.0.1:1"


def test_the_media_cache_is_named_the_same_way():
    cache = read_media_cache(SERVICES)
    assert cache.base_urls == ("https://10.0.1.30:8443",)
    assert (cache.upload_token.get_secret_value(), cache.lookup_ms) == ("t", 30)
    assert read_media_cache(None).base_urls == ()
    with pytest.raises(ConfigurationError, match="TTS_MEDIA_CACHE_BASE_URL"):
        read_media_cache({"TTS_MEDIA_CACHE_BASE_URL": "http://10.0.1.30"})


def test_a_running_worker_takes_addresses_and_keys_alone():
    settings = read_settings(GIVEN)
    changed = with_sts(settings, {**SERVICES, "STS_BREAKER_FAILURES": "9"})
    assert not same_sts(settings, changed)
    assert changed.sts_breaker_failures == settings.sts_breaker_failures
    assert same_sts(changed, with_sts(changed, SERVICES))
    with pytest.raises(ConfigurationError, match="STS_SERVICE_URL"):
        with_sts(settings, {"STS_SERVICE_URL": "ftp://x"})


def test_what_is_no_object_of_strings_says_nothing():
    assert sts_fields(["STS_SERVICE_URL"]) == {}
    assert sts_fields({"STS_SERVICE_URL": 7}) == {}
