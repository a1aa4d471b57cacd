import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from livedub.errors import InvalidInputError
from livedub.media_cache.blocking_client import MediaCacheClient
from livedub.media_cache.errors import MediaCacheUnavailableError
from livedub.media_cache.key import Variant
from tests.unit.livedub.media_cache.fake_cache import FakeCache, running
from tests.unit.livedub.media_cache.test_media_cache_client import AUDIO, KEY, PATH, TOKEN, drip, metadata


@pytest.fixture
def cache() -> Iterator[FakeCache]:
    """A cache on a loop in another thread."""
    started, stop = threading.Event(), asyncio.Event()
    fake, loops = FakeCache(), list[asyncio.AbstractEventLoop]()

    async def serve() -> None:
        async with running(fake):
            loops.append(asyncio.get_running_loop())
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert started.wait(10)
        yield fake
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(10)


def test_every_call_works_from_threads(cache: FakeCache):
    with MediaCacheClient([cache.url], token=TOKEN) as client, ThreadPoolExecutor(8) as pool:
        assert client.put(metadata(), AUDIO) is True
        assert list(pool.map(lambda _: client.get(KEY, Variant.PCM), range(32))) == [AUDIO] * 32
        assert client.exists(KEY, Variant.PCM)
        assert client.get_range(KEY, Variant.PCM, 0, 4_000_000) == AUDIO
        assert client.delete(KEY, Variant.PCM)
        assert client.get(KEY, Variant.PCM) is None
        with pytest.raises(InvalidInputError):
            client.get("x", Variant.PCM)


def test_a_deadline_holds(cache: FakeCache):
    cache.behaviour = drip
    with (
        MediaCacheClient([cache.url], deadline_ms=100) as client,
        pytest.raises(MediaCacheUnavailableError, match="within 100 ms"),
    ):
        client.get(KEY, Variant.PCM)


def test_closing_ends_the_thread_and_further_calls_fail(cache: FakeCache):
    cache.objects[PATH] = AUDIO
    client = MediaCacheClient([cache.url])
    assert client.get(KEY, Variant.PCM) == AUDIO
    client.close()
    client.close()
    assert "media-cache" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(MediaCacheUnavailableError, match="closed"):
        client.get(KEY, Variant.PCM)


def test_a_client_that_was_never_used_starts_nothing():
    MediaCacheClient(["https://10.0.0.1"]).close()
    assert "media-cache" not in {thread.name for thread in threading.enumerate()}
