from __future__ import annotations

import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from livedub.errors import ConfigurationError
from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.media_cache.policy_connection import connect_cache_policy
from livedub.media_cache.policy_metrics import PolicyCollector

ADDRESS = "https://10.0.0.1:8443"


def test_no_address_means_no_policy_and_no_library():
    code = (
        "import sys; from livedub.media_cache.consumer_settings import MediaCacheSettings; "
        "from livedub.media_cache.policy_connection import connect_cache_policy; "
        "assert connect_cache_policy(MediaCacheSettings()) is None; "
        "assert not {'httpx', 'cryptography'} & set(sys.modules)"
    )
    environment = {"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=environment)


async def test_settings_make_a_policy():
    policy = connect_cache_policy(MediaCacheSettings(base_url=ADDRESS, lookup_ms=5, variants="alaw,pcm"))
    assert policy is not None
    await policy.aclose()


def test_what_cannot_be_trusted_is_named():
    with pytest.raises(ConfigurationError, match="CA bundle"):
        connect_cache_policy(MediaCacheSettings(base_url=ADDRESS, ca_bundle="bm8gcGVt"))


def test_settings_from_the_environment_name_the_variable_that_is_wrong(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TTS_MEDIA_CACHE_BASE_URL", ADDRESS)
    assert MediaCacheSettings.load().base_urls == (ADDRESS,)
    monkeypatch.setenv("TTS_MEDIA_CACHE_LOOKUP_MS", "soon")
    with pytest.raises(ConfigurationError, match="TTS_MEDIA_CACHE_LOOKUP_MS"):
        MediaCacheSettings.load()


def test_a_scrape_shows_what_the_policy_counts_by_then():
    counts = {"hits": 1}
    registry = CollectorRegistry()
    registry.register(PolicyCollector("worker_media_cache", lambda: counts))
    counts["hits"] = 3
    assert 'worker_media_cache_total{outcome="hits"} 3.0' in generate_latest(registry).decode()
