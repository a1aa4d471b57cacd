"""`livedub media up` needs nothing set up, what it prints is all a consumer needs, and it keeps itself clean."""

import asyncio
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.media_cache.key import Variant
from livedub.media_cache.media_cache_client import AsyncMediaCacheClient
from livedub.media_cache.tls_bundle import parse_ca_bundle
from livedub.media_cache.wire import AudioVariant, CacheMetadata

BODY = b"x" * 8_000


class MediaUp:
    """The command in an empty folder; a context manager."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.log = folder / "log"
        self.exported: dict[str, str] = {}
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MEDIA_", "TTS_MEDIA_")) and name not in ("PRIVATE_IP", "DATABASE_URL")
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "livedub.cli.main", "media", "up", "--port", "0", *options],
                cwd=folder,
                env={**clean, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def __enter__(self) -> "MediaUp":
        assert self.process.stdout
        for _ in range(3):
            line = self.process.stdout.readline()
            assert line, self.log.read_text()
            match = re.fullmatch(r"export (TTS_MEDIA_CACHE_\w+)=(.*)\n", line)
            assert match
            self.exported[match[1]] = shlex.split(match[2])[0]
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdout
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(60)
        finally:
            self.process.kill()
            self.process.stdout.close()

    def database_url(self) -> str:
        """Where its own catalogue is."""
        match = re.search(r"DATABASE_URL=(.*)", self.log.read_text())
        assert match
        return shlex.split(match[1])[0]

    def client(self) -> AsyncMediaCacheClient:
        settings = MediaCacheSettings(
            **{name.removeprefix("TTS_MEDIA_CACHE_").lower(): value for name, value in self.exported.items()}  # pyright: ignore[reportArgumentType]
        )
        return AsyncMediaCacheClient(
            [settings.base_url],
            token=settings.upload_token.get_secret_value(),
            tls=parse_ca_bundle(settings.ca_bundle),
            deadline_ms=30_000,
        )


def spoken(sentence: str, ttl_s: int | None = None) -> CacheMetadata:
    variant = AudioVariant.of(Variant.ALAW, len(BODY))
    return CacheMetadata(sentence=sentence, voice="en/a", model="m", variant=variant, ttl_s=ttl_s)


def test_a_consumer_with_the_printed_variables_puts_and_gets(tmp_path: Path):
    with MediaUp(tmp_path, "--no-catalogue") as host:
        asyncio.run(_use(host))
        host.process.send_signal(signal.SIGINT)
        assert host.process.wait(60) == 0
        assert host.process.stdout
        assert host.process.stdout.read() == ""
    assert (tmp_path / "out" / "media" / "tls" / "privkey.pem").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "out" / "media" / "catalogue").exists()


async def _use(host: MediaUp):
    metadata = spoken("Hello.")
    async with host.client() as client:
        assert await client.put(metadata, BODY)
        assert await client.get(metadata.key, Variant.ALAW) == BODY
        assert await client.get_range(metadata.key, Variant.ALAW, 0, 10) == BODY[:10]
        assert await client.delete(metadata.key, Variant.ALAW)
        assert await client.get(metadata.key, Variant.ALAW) is None


@pytest.mark.slow
def test_it_keeps_a_catalogue_of_its_own_and_cleans_up_by_it(tmp_path: Path):
    with MediaUp(tmp_path, "--cleanup-every", "0.5") as host:
        asyncio.run(_put_and_see_one_go(host, over=spoken("Over soon.", ttl_s=1), kept=spoken("Kept.")))
        assert _sentences(host.database_url()) == ["Kept."]
        host.process.send_signal(signal.SIGINT)
        assert host.process.wait(60) == 0
    assert not (tmp_path / "out/media/catalogue/data/postmaster.pid").exists()


async def _put_and_see_one_go(host: MediaUp, *, over: CacheMetadata, kept: CacheMetadata):
    async with host.client() as client:
        assert await client.put(kept, BODY)
        assert await client.put(over, BODY)
        async with asyncio.timeout(60):
            while await client.exists(over.key, Variant.ALAW):  # noqa: ASYNC110 - another process does it
                await asyncio.sleep(0.1)
            # The row goes after the object.
            while len(_sentences(host.database_url())) > 1:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert await client.exists(kept.key, Variant.ALAW)


def _sentences(url: str) -> list[str]:
    with psycopg.connect(url, autocommit=True) as connection:
        return [row[0] for row in connection.execute("SELECT sentence FROM tts_media_cache ORDER BY 1")]


@pytest.mark.slow
def test_its_catalogue_outlives_it_and_it_ends_with_its_catalogue(tmp_path: Path):
    with MediaUp(tmp_path) as host:
        asyncio.run(_put(host, spoken("First.")))
    with MediaUp(tmp_path) as host:
        asyncio.run(_put(host, spoken("Second.")))
        assert _sentences(host.database_url()) == ["First.", "Second."]
        server = int((tmp_path / "out/media/catalogue/data/postmaster.pid").read_text().splitlines()[0])
        os.kill(server, signal.SIGKILL)
        assert host.process.wait(60) == 1
        assert "the catalogue's Postgres ended with -9" in host.log.read_text()


async def _put(host: MediaUp, metadata: CacheMetadata):
    async with host.client() as client:
        assert await client.put(metadata, BODY)
