from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from livedub.errors import ConfigurationError
from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.media_cache.policy import SpokenLine
from media_edge.worker.cache_link import CacheLink
from media_edge.worker.metrics import WorkerMetrics
from tests.unit.livedub.media_cache.fake_cache import FakeCache, running
from tests.unit.livedub.media_cache.tls_files import self_signed, server_context

BOUND_S = 30.0


@pytest.mark.parametrize("settings", [None, MediaCacheSettings()])
async def test_without_an_address_there_is_nothing_to_do(settings: MediaCacheSettings | None):
    link = CacheLink(settings)
    link.start()
    assert link.policy is None
    await link.aclose()


async def test_it_connects_once_beside_the_work_and_closes_twice(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    async with running(FakeCache()) as cache:
        link = CacheLink(MediaCacheSettings(base_url=cache.url, deadline_ms=30_000))
        link.start()
        link.start()
        assert link._task is not None
        await asyncio.wait_for(link._task, BOUND_S)
        assert [request.method for request in cache.received] == ["GET"]
        await asyncio.wait_for(link.aclose(), BOUND_S)
        await link.aclose()
    assert "the media cache answers" in caplog.text


async def test_closing_does_not_wait_for_a_cache_that_hangs():
    async def silent(_: object, __: object) -> bool:
        await asyncio.Event().wait()
        return False

    async with running(FakeCache(behaviour=silent)) as cache:
        link = CacheLink(MediaCacheSettings(base_url=cache.url, deadline_ms=60_000))
        link.start()
        await asyncio.wait_for(link.aclose(), BOUND_S)


async def test_a_missing_rubber_band_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("PATH", str(tmp_path))
    async with running(FakeCache()) as cache:
        link = CacheLink(MediaCacheSettings(base_url=cache.url))
        link.start()
        await link.aclose()
    assert "rubberband is not installed" in caplog.text


def test_what_cannot_be_trusted_ends_the_worker():
    with pytest.raises(ConfigurationError):
        CacheLink(MediaCacheSettings(base_url="https://10.0.0.1:8443", ca_bundle="bm8gcGVt"))


def test_the_counts_are_in_the_worker_s_metrics():
    metrics = WorkerMetrics()
    metrics.watch_media_cache(lambda: {"hits": 2, "misses": 1})
    assert metrics.registry.get_sample_value("worker_media_cache_total", {"outcome": "hits"}) == 2


async def test_it_follows_to_another_cache_without_a_restart(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    async with running(FakeCache()) as one, running(FakeCache()) as other:
        link = CacheLink(MediaCacheSettings(base_url=one.url, deadline_ms=30_000))
        link.start()
        assert link._task is not None
        await asyncio.wait_for(link._task, BOUND_S)
        link.follow(MediaCacheSettings(base_url=one.url, deadline_ms=30_000))
        assert link._following is None
        link.follow(MediaCacheSettings(base_url=other.url, deadline_ms=30_000))
        assert link._following is not None
        await asyncio.wait_for(link._following, BOUND_S)
        assert len(one.received) == len(other.received) == 1
        await link.aclose()


async def test_a_bundle_that_comes_while_it_runs_makes_another_certificate_trusted(tmp_path: Path):
    old, _ = self_signed("old")
    new, key = self_signed("new")
    async with running(FakeCache(), server_context(tmp_path, new, key)) as cache:
        trusting_old = MediaCacheSettings(
            base_url=cache.url, ca_bundle=old, deadline_ms=30_000, lookup_ms=1_000
        )
        link = CacheLink(trusting_old)
        policy = link.policy
        assert policy is not None
        # Often enough that the cache is left alone.
        for number in range(5):
            await policy.lookup(SpokenLine(f"line {number}", "es/a", "m"))
        assert policy.counts.failed + policy.counts.skipped == 5
        assert cache.received == []
        link.follow(trusting_old.model_copy(update={"ca_bundle": old + new}))
        assert link._following is not None
        await asyncio.wait_for(link._following, BOUND_S)
        await policy.lookup(SpokenLine("line 9", "es/a", "m"))
        assert policy.counts.misses == 1
        await link.aclose()


async def test_settings_that_cannot_be_used_leave_all_as_it_is(caplog: pytest.LogCaptureFixture):
    async with running(FakeCache()) as cache:
        good = MediaCacheSettings(base_url=cache.url, deadline_ms=30_000)
        link = CacheLink(good)
        for bad in (
            MediaCacheSettings(),
            MediaCacheSettings(base_url="https://127.0.0.1:1", ca_bundle="no bundle"),
        ):
            link.follow(bad)
            assert link._following is not None
            await asyncio.wait_for(link._following, BOUND_S)
        assert link.policy is not None
        await link.policy.warm_up()
        assert len(cache.received) == 1
        await link.aclose()
    assert caplog.text.count("are refused, the old ones stay") == 2


async def test_a_cache_where_there_was_none_is_the_next_workers(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    link = CacheLink(None)
    link.follow(MediaCacheSettings(base_url="https://10.0.1.30:8443"))
    assert link.policy is None
    assert "the next worker asks it" in caplog.text
    await link.aclose()
