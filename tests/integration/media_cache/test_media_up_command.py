"""`livedub media up` needs nothing set up, and what it prints is all a consumer needs."""

import asyncio
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.media_cache.key import Variant
from livedub.media_cache.media_cache_client import AsyncMediaCacheClient
from livedub.media_cache.tls_bundle import parse_ca_bundle
from livedub.media_cache.wire import AudioVariant, CacheMetadata

BODY = b"x" * 8_000


def test_a_consumer_with_the_printed_variables_puts_and_gets(tmp_path: Path):
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MEDIA_", "TTS_MEDIA_")) and name not in ("PRIVATE_IP", "DATABASE_URL")
    }
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "livedub.cli.main", "media", "up", "--port", "0"],
            cwd=tmp_path,
            env={**clean, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout
            lines = [process.stdout.readline() for _ in range(3)]
            assert all(lines), (tmp_path / "log").read_text()
            exported = {}
            for line in lines:
                match = re.fullmatch(r"export (TTS_MEDIA_CACHE_\w+)=(.*)\n", line)
                assert match
                exported[match[1]] = shlex.split(match[2])[0]
            asyncio.run(_use(exported))
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        assert process.stdout.read() == ""
    assert (tmp_path / "out" / "media" / "tls" / "privkey.pem").stat().st_mode & 0o777 == 0o600


async def _use(exported: dict[str, str]):
    settings = MediaCacheSettings(
        **{name.removeprefix("TTS_MEDIA_CACHE_").lower(): value for name, value in exported.items()}  # pyright: ignore[reportArgumentType]
    )
    metadata = CacheMetadata(
        sentence="Hello.", voice="en/a", model="m", variant=AudioVariant.of(Variant.ALAW, len(BODY))
    )
    client = AsyncMediaCacheClient(
        [settings.base_url],
        token=settings.upload_token.get_secret_value(),
        tls=parse_ca_bundle(settings.ca_bundle),
    )
    async with client:
        assert await client.put(metadata, BODY)
        assert await client.get(metadata.key, Variant.ALAW) == BODY
        assert await client.get_range(metadata.key, Variant.ALAW, 0, 10) == BODY[:10]
        assert await client.delete(metadata.key, Variant.ALAW)
        assert await client.get(metadata.key, Variant.ALAW) is None
