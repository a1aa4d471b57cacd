"""The media-cache host that `livedub up --media-cache` starts beside the stack."""

from pathlib import Path

import numpy as np
import pytest

from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.media_cache.media_cache_client import connect_media_cache
from livedub.media_cache.policy import READ_RATE_HZ, CachePolicy, PolicyConfig, SpokenLine
from local.media_cache import MediaCache, start_media_cache
from local.processes import Supervisor

pytestmark = [pytest.mark.slow]

LINE = SpokenLine("Goal!", "en/voice", "some:model")


def settings_of(cache: MediaCache, monkeypatch: pytest.MonkeyPatch) -> MediaCacheSettings:
    for name, value in cache.consumer_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TTS_MEDIA_CACHE_DEADLINE_MS", "30000")
    return MediaCacheSettings.load()


@pytest.fixture(autouse=True)
def _no_host_of_the_users(monkeypatch: pytest.MonkeyPatch):
    for name in ("MEDIA_UPLOAD_TOKEN", "MEDIA_UPLOAD_TOKENS", "MEDIA_TLS_FULLCHAIN_B64", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


async def test_speech_stays_from_one_run_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    speech = (0.3 * np.sin(np.arange(READ_RATE_HZ) * 0.1)).astype(np.float32)
    for run in (1, 2):
        logs = tmp_path / f"logs-{run}"
        async with Supervisor(logs) as supervisor:
            cache = await start_media_cache(supervisor, tmp_path / "kept")
            settings = settings_of(cache, monkeypatch)
            client = connect_media_cache(settings)
            assert client is not None
            policy = CachePolicy(client, PolicyConfig(lookup_ms=30_000, admit_on_sight=1))
            found = await policy.lookup(LINE)
            if run == 1:
                assert found is None
                policy.offer(LINE, speech, READ_RATE_HZ)
                await policy.settle()
                assert policy.counts.stored == 1
            else:
                assert policy.counts.hits == 1
                assert found is not None
                assert len(found) == len(speech)
            await policy.aclose()
        log = (logs / "media-cache.log").read_text()
        assert settings.upload_token.get_secret_value() not in log
