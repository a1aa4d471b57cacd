import asyncio
import base64
import hashlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from livedub.errors import ConfigurationError, InvalidInputError
from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.media_cache.errors import (
    MediaCacheRefusedError,
    MediaCacheUnavailableError,
    MediaCacheUntrustedError,
)
from livedub.media_cache.key import Variant, object_path
from livedub.media_cache.media_cache_client import AsyncMediaCacheClient, connect_media_cache
from livedub.media_cache.rendezvous import Rendezvous
from livedub.media_cache.tls_bundle import parse_ca_bundle
from livedub.media_cache.wire import AudioVariant, CacheMetadata, decode_metadata
from livedub.sts.breaker import BreakerConfig
from tests.unit.livedub.media_cache.fake_cache import FakeCache, Received, respond, running
from tests.unit.livedub.media_cache.tls_files import self_signed, server_context

AUDIO = b"\x01\x02" * 4_800
TOKEN = "-".join(["geheim"] * 3)


def metadata(sentence: str = "Hola", body: bytes = AUDIO) -> CacheMetadata:
    return CacheMetadata(
        sentence=sentence, voice="es/a", model="m", variant=AudioVariant.of(Variant.PCM, len(body))
    )


KEY = metadata().key
PATH = object_path(KEY, Variant.PCM)


async def test_what_is_put_can_be_read_and_deleted():
    async with running(FakeCache()) as cache, AsyncMediaCacheClient([cache.url], token=TOKEN) as client:
        assert await client.get(KEY, Variant.PCM) is None
        assert not await client.exists(KEY, Variant.PCM)
        assert await client.put(metadata(), AUDIO) is True
        assert await client.put(metadata(), AUDIO) is False
        assert await client.get(KEY, Variant.PCM) == AUDIO
        assert await client.exists(KEY, Variant.PCM)
        assert await client.delete(KEY, Variant.PCM) is True
        assert await client.delete(KEY, Variant.PCM) is False
        assert cache.connections == 1


async def test_an_upload_says_what_it_is():
    async with running(FakeCache()) as cache, AsyncMediaCacheClient([cache.url], token=TOKEN) as client:
        await client.put(metadata(), AUDIO)
    (request,) = cache.received
    assert (request.method, request.path, request.body) == ("PUT", PATH, AUDIO)
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["content-type"] == "audio/pcm"
    digest = base64.b64encode(hashlib.sha256(AUDIO).digest()).decode()
    assert request.headers["content-digest"] == f"sha-256=:{digest}:"
    assert decode_metadata(request.headers["x-livedub-metadata"]) == metadata()


async def test_reading_sends_no_token():
    async with running(FakeCache()) as cache, AsyncMediaCacheClient([cache.url], token=TOKEN) as client:
        await client.get(KEY, Variant.PCM)
        await client.exists(KEY, Variant.PCM)
    assert not any("authorization" in request.headers for request in cache.received)


def answering(status: int, body: bytes = b"") -> Callable[[Received, asyncio.StreamWriter], Awaitable[bool]]:
    async def answer(request: Received, writer: asyncio.StreamWriter) -> bool:
        await respond(writer, status, body, head=request.method == "HEAD")
        return True

    return answer


@pytest.mark.parametrize("status", [200, 202, 206, 302, 400, 401, 404, 405, 413, 422])
async def test_only_created_and_no_content_mean_that_it_is_stored(status: int):
    async with (
        running(FakeCache(behaviour=answering(status))) as cache,
        AsyncMediaCacheClient([cache.url], token=TOKEN) as client,
    ):
        with pytest.raises(MediaCacheRefusedError) as refused:
            await client.put(metadata(), AUDIO)
    assert refused.value.status_code == status
    assert refused.value.remedy


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 507])
async def test_what_may_succeed_later_is_unavailable(status: int):
    async with (
        running(FakeCache(behaviour=answering(status, b"why"))) as cache,
        AsyncMediaCacheClient([cache.url], token=TOKEN) as client,
    ):
        for call in (
            client.put(metadata(), AUDIO),
            client.get(KEY, Variant.PCM),
            client.delete(KEY, Variant.PCM),
        ):
            with pytest.raises(MediaCacheUnavailableError, match=rf"HTTP {status}: why"):
                await call


@pytest.mark.parametrize("status", [301, 401, 416])
async def test_a_get_that_is_neither_there_nor_missing_is_an_error(status: int):
    async with (
        running(FakeCache(behaviour=answering(status))) as cache,
        AsyncMediaCacheClient([cache.url]) as client,
    ):
        with pytest.raises(MediaCacheRefusedError):
            await client.get(KEY, Variant.PCM)


async def test_a_range_is_what_slicing_would_give():
    async def ranged(request: Received, writer: asyncio.StreamWriter) -> bool:
        first, last = request.headers["range"].removeprefix("bytes=").split("-")
        part = AUDIO[int(first) : int(last) + 1]
        await respond(writer, 206 if part else 416, part)
        return True

    for behaviour in (ranged, answering(200, AUDIO)):
        async with (
            running(FakeCache(behaviour=behaviour)) as cache,
            AsyncMediaCacheClient([cache.url]) as client,
        ):
            for start, end in ((0, 1), (5, 1_000), (9_000, 20_000), (50_000, 50_001)):
                assert await client.get_range(KEY, Variant.PCM, start, end) == AUDIO[start:end]
    async with running(FakeCache()) as cache, AsyncMediaCacheClient([cache.url]) as client:
        assert await client.get_range(KEY, Variant.PCM, 0, 10) is None
        with pytest.raises(InvalidInputError, match="empty"):
            await client.get_range(KEY, Variant.PCM, 5, 5)


async def hang_up_on_reuse(cache: FakeCache) -> FakeCache:
    """From the second request of a connection on, the connection ends without an answer."""
    served: set[int] = set()

    async def behave(request: Received, writer: asyncio.StreamWriter) -> bool:
        if request.connection in served:
            return False
        served.add(request.connection)
        return await cache.serve(request, writer)

    cache.behaviour = behave
    return cache


async def test_the_end_of_a_connection_that_was_kept_costs_nothing():
    cache = await hang_up_on_reuse(FakeCache())
    async with running(cache), AsyncMediaCacheClient([cache.url], token=TOKEN) as client:
        assert await client.put(metadata(), AUDIO) is True
        assert await client.get(KEY, Variant.PCM) == AUDIO
        assert await client.get(KEY, Variant.PCM) == AUDIO
        assert await client.delete(KEY, Variant.PCM) is True
    assert [request.method for request in cache.received].count("DELETE") <= 2


@pytest.mark.parametrize(("ended", "asked"), [(1, 2), (2, 3), (9, 3)])
async def test_a_request_is_asked_again_twice(ended: int, asked: int):
    fake = FakeCache(objects={PATH: AUDIO})

    async def hang_up_at_first(request: Received, writer: asyncio.StreamWriter) -> bool:
        return len(fake.received) > ended and await fake.serve(request, writer)

    fake.behaviour = hang_up_at_first
    async with running(fake) as cache, AsyncMediaCacheClient([cache.url]) as client:
        if ended < asked:
            assert await client.get(KEY, Variant.PCM) == AUDIO
        else:
            with pytest.raises(MediaCacheUnavailableError, match="cannot be reached"):
                await client.get(KEY, Variant.PCM)
        assert len(fake.received) == asked


@pytest.mark.parametrize("resets", [1, 2, 3])
async def test_two_connections_cut_off_in_their_handshake_cost_nothing(resets: int, tmp_path: Path):
    certificate, key = self_signed()
    fake = FakeCache(objects={PATH: AUDIO}, resets=resets)
    async with (
        running(fake, server_context(tmp_path, certificate, key)) as cache,
        AsyncMediaCacheClient([cache.url], tls=parse_ca_bundle(certificate)) as client,
    ):
        if resets > 2:
            with pytest.raises(MediaCacheUnavailableError, match="cannot be reached"):
                await client.get(KEY, Variant.PCM)
        assert await client.get(KEY, Variant.PCM) == AUDIO


async def test_an_untrusted_host_is_asked_once(tmp_path: Path):
    certificate, key = self_signed()
    other, _ = self_signed("other")
    async with (
        running(FakeCache(), server_context(tmp_path, certificate, key)) as cache,
        AsyncMediaCacheClient([cache.url], tls=parse_ca_bundle(other)) as client,
    ):
        with pytest.raises(MediaCacheUntrustedError):
            await client.get(KEY, Variant.PCM)
        assert cache.connections <= 1


async def test_a_body_cut_short_is_no_object():
    async def cut(_request: Received, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc")
        await writer.drain()
        return False

    async with running(FakeCache(behaviour=cut)) as cache, AsyncMediaCacheClient([cache.url]) as client:
        with pytest.raises(MediaCacheUnavailableError):
            await client.get(KEY, Variant.PCM)


async def test_an_endless_body_is_cut_off():
    async def endless(_request: Received, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        while not writer.is_closing():
            writer.write(bytes(1 << 16))
            await writer.drain()
        return False

    async with running(FakeCache(behaviour=endless)) as cache, AsyncMediaCacheClient([cache.url]) as client:
        with pytest.raises(MediaCacheUnavailableError, match="more than"):
            await client.get(KEY, Variant.PCM)


async def drip(_request: Received, writer: asyncio.StreamWriter) -> bool:
    """A byte now and then: every read succeeds, the answer never ends."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    for _ in range(1_000):
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)
    return False


async def test_a_deadline_covers_the_whole_exchange():
    async with (
        running(FakeCache(behaviour=drip)) as cache,
        AsyncMediaCacheClient([cache.url], deadline_ms=100) as client,
    ):
        with pytest.raises(MediaCacheUnavailableError, match="within 100 ms"):
            await client.get(KEY, Variant.PCM)


async def test_readers_of_one_object_share_a_request():
    async with (
        running(FakeCache(objects={PATH: AUDIO})) as cache,
        AsyncMediaCacheClient([cache.url]) as client,
    ):
        assert await asyncio.gather(*(client.get(KEY, Variant.PCM) for _ in range(20))) == [AUDIO] * 20
    assert len(cache.received) == 1


async def test_a_reader_that_leaves_takes_nobody_with_it():
    release = asyncio.Event()
    arrived = asyncio.Event()

    async def slow(request: Received, writer: asyncio.StreamWriter) -> bool:
        arrived.set()
        await release.wait()
        await respond(writer, 200, AUDIO)
        return True

    async with running(FakeCache(behaviour=slow)) as cache, AsyncMediaCacheClient([cache.url]) as client:
        leaving = asyncio.create_task(client.get(KEY, Variant.PCM))
        staying = asyncio.create_task(client.get(KEY, Variant.PCM))
        await arrived.wait()
        leaving.cancel()
        release.set()
        assert await staying == AUDIO
        with pytest.raises(asyncio.CancelledError):
            await leaving


async def test_the_second_choice_is_read_while_hosts_change():
    async with running(FakeCache()) as one, running(FakeCache()) as two:
        hosts = {one.url: one, two.url: two}
        first, second = Rendezvous(list(hosts)).order(KEY)
        async with AsyncMediaCacheClient(list(hosts), token=TOKEN) as client:
            hosts[second].objects[PATH] = AUDIO
            assert await client.get(KEY, Variant.PCM) == AUDIO
            assert await client.exists(KEY, Variant.PCM)
            await client.put(metadata(), AUDIO)
            assert hosts[first].objects == {PATH: AUDIO}
            assert await client.delete(KEY, Variant.PCM)
            assert not hosts[first].objects
            assert not hosts[second].objects


async def test_a_host_that_is_down_leaves_its_second_choice():
    async with running(FakeCache()) as up:
        down = "http://127.0.0.1:9"
        async with AsyncMediaCacheClient([up.url, down], token=TOKEN) as client:
            for number in range(8):
                await client.put(metadata(f"{number}"), AUDIO)
                assert await client.get(metadata(f"{number}").key, Variant.PCM) == AUDIO
            assert len(up.objects) == 8
            with pytest.raises(MediaCacheUnavailableError):
                await client.delete(KEY, Variant.PCM)


async def test_not_knowing_is_not_a_miss():
    async with running(FakeCache()) as up:
        down = "http://127.0.0.1:9"
        async with AsyncMediaCacheClient([up.url, down]) as client:
            with pytest.raises(MediaCacheUnavailableError):
                await client.get(KEY, Variant.PCM)


async def test_a_host_that_fails_is_left_alone_for_a_while():
    async with running(FakeCache(behaviour=answering(503))) as cache:
        breaker = BreakerConfig(failures_to_open=2, cool_down_ms=60_000)
        async with AsyncMediaCacheClient([cache.url], breaker=breaker) as client:
            for _ in range(5):
                with pytest.raises(MediaCacheUnavailableError):
                    await client.get(KEY, Variant.PCM)
    assert len(cache.received) == 2


async def test_a_refusal_does_not_open_the_breaker():
    async with running(FakeCache(behaviour=answering(401))) as cache:
        breaker = BreakerConfig(failures_to_open=1, cool_down_ms=60_000)
        async with AsyncMediaCacheClient([cache.url], token=TOKEN, breaker=breaker) as client:
            for _ in range(3):
                with pytest.raises(MediaCacheRefusedError, match="401"):
                    await client.put(metadata(), AUDIO)
    assert len(cache.received) == 3


async def test_only_the_bundle_is_trusted(tmp_path: Path):
    certificate, key = self_signed()
    context = server_context(tmp_path, certificate, key)
    other, _ = self_signed("other")
    async with running(FakeCache(objects={PATH: AUDIO}), context) as cache:
        for bundle in (certificate, other + certificate):
            async with AsyncMediaCacheClient([cache.url], tls=parse_ca_bundle(bundle)) as client:
                assert await client.get(KEY, Variant.PCM) == AUDIO
        for tls in (None, parse_ca_bundle(other)):
            async with AsyncMediaCacheClient([cache.url], tls=tls) as client:
                with pytest.raises(MediaCacheUntrustedError, match=r"self.signed") as untrusted:
                    await client.get(KEY, Variant.PCM)
            assert "TTS_MEDIA_CACHE_CA_BUNDLE" in untrusted.value.remedy


async def test_a_certificate_for_another_name_is_not_trusted(tmp_path: Path):
    certificate, key = self_signed(address="127.0.0.2")
    async with (
        running(FakeCache(), server_context(tmp_path, certificate, key)) as cache,
        AsyncMediaCacheClient([cache.url], tls=parse_ca_bundle(certificate)) as client,
    ):
        with pytest.raises(MediaCacheUntrustedError, match="not valid for"):
            await client.get(KEY, Variant.PCM)


async def test_the_token_is_never_written_down(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    async with running(FakeCache(behaviour=answering(401, b"no"))) as cache:
        client = AsyncMediaCacheClient([cache.url], token=TOKEN)
        with pytest.raises(MediaCacheRefusedError) as refused:
            await client.put(metadata(), AUDIO)
        await client.aclose()
    settings = MediaCacheSettings(base_url=cache.url, upload_token=TOKEN)  # pyright: ignore[reportArgumentType]
    assert caplog.text
    for text in (caplog.text, repr(client), str(refused.value), repr(settings)):
        assert TOKEN not in text


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "schlüssel"])
def test_a_token_that_no_header_carries_is_refused_unseen(token: str):
    with pytest.raises(ConfigurationError) as refused:
        AsyncMediaCacheClient(["https://a"], token=token)
    assert token not in str(refused.value)


async def test_what_no_host_takes_is_not_sent():
    async with running(FakeCache()) as cache, AsyncMediaCacheClient([cache.url], token=TOKEN) as client:
        with pytest.raises(InvalidInputError, match="do not last"):
            await client.put(metadata(), AUDIO[: len(AUDIO) // 2])
        with pytest.raises(InvalidInputError, match="no cache key"):
            await client.get("../secret", Variant.PCM)
        huge = bytes(5 * 1024 * 1024)
        with pytest.raises(InvalidInputError, match="At most"):
            await client.put(metadata(body=huge), huge)
    assert not cache.received


def test_no_address_means_no_cache():
    assert connect_media_cache(MediaCacheSettings()) is None


async def test_connecting_says_what_is_trusted(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    certificate, _ = self_signed()
    settings = MediaCacheSettings(base_url="https://10.0.0.1:8443", ca_bundle=certificate)
    client = connect_media_cache(settings)
    assert client is not None
    await client.aclose()
    assert '"mediaCacheTlsMode": "bundle-pem"' in caplog.text
