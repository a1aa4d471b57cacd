"""The consumer library and the policy against a real host: Caddy, TLS, the upload service."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from livedub.media_cache.blocking_client import MediaCacheClient
from livedub.media_cache.connected import connect_policy
from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.media_cache.errors import MediaCacheRefusedError, MediaCacheUntrustedError
from livedub.media_cache.key import Variant, cache_key
from livedub.media_cache.media_cache_client import AsyncMediaCacheClient, connect_media_cache
from livedub.media_cache.policy import READ_RATE_HZ, CachePolicy, PolicyConfig, SpokenLine
from livedub.media_cache.tls_bundle import CaBundle, parse_ca_bundle
from livedub.media_cache.tls_material import self_signed, write_material
from livedub.media_cache.wire import AudioVariant, CacheMetadata

from .media_rig import TOKEN, MediaHost
from .test_rotation_by_reload import caddy_reload

AUDIO = bytes(range(256)) * 160


def settings_of(host: MediaHost) -> MediaCacheSettings:
    variables = {
        name.removeprefix("TTS_MEDIA_CACHE_").lower(): value for name, value in host.variables.items()
    }
    return MediaCacheSettings.model_validate({**variables, "lookup_ms": 1_000, "deadline_ms": 20_000})


def described(sentence: str, variant: Variant = Variant.PCM, body: bytes = AUDIO) -> CacheMetadata:
    return CacheMetadata(
        sentence=sentence, voice="es/a", model="m", variant=AudioVariant.of(variant, len(body))
    )


@asynccontextmanager
async def connected(host: MediaHost) -> AsyncIterator[AsyncMediaCacheClient]:
    client = connect_media_cache(settings_of(host))
    assert client is not None
    async with client:
        yield client


@pytest.mark.parametrize("variant", Variant)
async def test_an_object_lives_and_dies(host: MediaHost, variant: Variant):
    metadata = described(f"¿Qué tal? {variant.value}", variant)
    async with connected(host) as client:
        assert await client.get(metadata.key, variant) is None
        assert await client.put(metadata, AUDIO) is True
        assert await client.put(metadata, AUDIO) is False
        assert await client.exists(metadata.key, variant)
        assert await client.get(metadata.key, variant) == AUDIO
        assert await client.get_range(metadata.key, variant, 100, 300) == AUDIO[100:300]
        assert await client.get_range(metadata.key, variant, len(AUDIO) - 5, len(AUDIO) + 5) == AUDIO[-5:]
        assert await client.get_range(metadata.key, variant, len(AUDIO), len(AUDIO) + 1) == b""
        assert await client.delete(metadata.key, variant) is True
        assert await client.delete(metadata.key, variant) is False
        assert not await client.exists(metadata.key, variant)


def test_threads_see_the_same(host: MediaHost):
    tls = parse_ca_bundle(host.variables["TTS_MEDIA_CACHE_CA_BUNDLE"])
    metadata = described("from a thread")
    with MediaCacheClient([host.variables["TTS_MEDIA_CACHE_BASE_URL"]], token=TOKEN, tls=tls) as client:
        assert client.put(metadata, AUDIO) is True
        assert client.get(metadata.key, Variant.PCM) == AUDIO
        assert client.delete(metadata.key, Variant.PCM) is True


async def test_a_wrong_token_reads_but_does_not_write(host: MediaHost):
    settings = settings_of(host)
    async with connected(host) as client:
        await client.put(described("readable"), AUDIO)
    tls = parse_ca_bundle(settings.ca_bundle)
    async with AsyncMediaCacheClient(settings.base_urls, token="x" * 20, tls=tls) as stranger:
        assert await stranger.get(described("readable").key, Variant.PCM) == AUDIO
        for call in (
            stranger.put(described("new"), AUDIO),
            stranger.delete(described("readable").key, Variant.PCM),
        ):
            with pytest.raises(MediaCacheRefusedError, match="TTS_MEDIA_CACHE_UPLOAD_TOKEN") as refused:
                await call
            assert refused.value.status_code == 401


async def test_a_stale_bundle_is_named_as_such(host: MediaHost):
    stale = parse_ca_bundle(self_signed(["127.0.0.1"]).fullchain_pem.decode())
    async with AsyncMediaCacheClient(settings_of(host).base_urls, tls=stale) as client:
        with pytest.raises(MediaCacheUntrustedError, match=stale.fingerprints[0][:16]):
            await client.get(cache_key("a", "b", "c"), Variant.PCM)


async def test_what_is_said_again_comes_from_the_host(host: MediaHost):
    policy = connect_policy(settings_of(host))
    assert policy is not None
    line = SpokenLine("Buenas noches a todos", "es/a", "m")
    speech = (0.5 * np.sin(np.arange(READ_RATE_HZ) * 0.05)).astype(np.float32)
    try:
        for _ in range(2):
            assert await policy.lookup(line) is None
            policy.offer(line, speech, READ_RATE_HZ)
            await policy.settle()
        found = await policy.lookup(line)
    finally:
        await policy.aclose()
    assert found is not None
    assert np.allclose(found, speech, atol=1e-4)
    assert (policy.counts.hits, policy.counts.stored, policy.counts.store_failed) == (1, 1, 0)


class Rotating:
    """A host whose certificate changes, and a bundle that vouches for every one it will have."""

    def __init__(self, host: MediaHost) -> None:
        self.host = host
        self.pairs = [self_signed(["127.0.0.1"], ["localhost"]) for _ in range(3)]
        current = parse_ca_bundle(host.variables["TTS_MEDIA_CACHE_CA_BUNDLE"]).pem
        self.bundle: CaBundle = parse_ca_bundle(
            current + "".join(pair.fullchain_pem.decode() for pair in self.pairs)
        )


@pytest.mark.slow
async def test_a_rotation_fails_no_request(tmp_path: Path):
    with MediaHost(tmp_path) as host:
        rotating = Rotating(host)
        served = 0
        stop = asyncio.Event()
        async with AsyncMediaCacheClient(
            settings_of(host).base_urls, token=TOKEN, tls=rotating.bundle, deadline_ms=20_000
        ) as client:

            async def read_and_write(number: int) -> None:
                nonlocal served
                metadata = described(f"rotation {number}")
                while not stop.is_set():
                    await client.put(metadata, AUDIO)
                    assert await client.get(metadata.key, Variant.PCM) == AUDIO
                    served += 2

            users = [asyncio.create_task(read_and_write(number)) for number in range(6)]
            try:
                for pair in rotating.pairs:
                    before = served
                    write_material(host.tls_path / "tls", pair)
                    await asyncio.to_thread(caddy_reload, host, "--force")
                    while served < before + 100:
                        for user in users:
                            if user.done():
                                user.result()
                        await asyncio.sleep(0.01)
            finally:
                stop.set()
            await asyncio.gather(*users)
        assert served >= 300


@asynccontextmanager
async def silent_host() -> AsyncIterator[str]:
    """Takes connections and says nothing, as a host that hangs does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"


async def test_a_host_that_hangs_is_asked_less_and_less():
    async with silent_host() as url:
        policy = CachePolicy(
            AsyncMediaCacheClient([url], deadline_ms=10_000), PolicyConfig(lookup_ms=5), clock_ns=lambda: 0
        )
        try:
            for number in range(20):
                assert await policy.lookup(SpokenLine(f"{number}", "v", "m")) is None
        finally:
            await policy.aclose()
    assert (policy.counts.late, policy.counts.skipped) == (3, 17)
