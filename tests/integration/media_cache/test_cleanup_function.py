"""The clean-up as it is run: function and command, a real host over HTTPS, a real Postgres."""

import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from functions.media_cache_cleanup.handler import CleanupFailedError, handler
from livedub.cli.main import app
from livedub.errors import ConfigurationError
from livedub.media_cache.blocking_client import MediaCacheClient
from livedub.media_cache.cleanup import CleanupReport
from livedub.media_cache.errors import MediaCacheError
from livedub.media_cache.key import Variant
from livedub.media_cache.tls_bundle import parse_ca_bundle
from livedub.media_cache.wire import AudioVariant, CacheMetadata

from .media_rig import ROOT, TOKEN, MediaHost, path_of

EVENT = json.loads((ROOT / "tests/events/media_cache_cleanup.json").read_text())
OLD_S = 3 * 24 * 3_600


class Context:
    """What Lambda tells a function about a call."""

    function_name = "media_cache_cleanup"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:media_cache_cleanup"
    aws_request_id = "11111111-2222-3333-4444-555555555555"

    def __init__(self, remaining_ms: int = 60_000) -> None:
        self._remaining_ms = remaining_ms

    def get_remaining_time_in_millis(self) -> int:
        return self._remaining_ms


@pytest.fixture
def media(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[MediaHost]:
    """A host with a catalogue, and the variables of a consumer that may write."""
    with MediaHost(tmp_path, DATABASE_URL=database_url) as host:
        for name in [name for name in os.environ if name.startswith(("TTS_MEDIA_", "MEDIA_"))]:
            monkeypatch.delenv(name)
        for name, value in host.variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("TTS_MEDIA_CACHE_UPLOAD_TOKEN", TOKEN)
        monkeypatch.setenv("DATABASE_URL", database_url)
        monkeypatch.setenv("POWERTOOLS_TRACE_DISABLED", "true")
        yield host


@pytest.fixture
def cache(media: MediaHost) -> Iterator[MediaCacheClient]:
    bundle = parse_ca_bundle(media.variables["TTS_MEDIA_CACHE_CA_BUNDLE"])
    url = media.variables["TTS_MEDIA_CACHE_BASE_URL"]
    with MediaCacheClient([url], token=TOKEN, tls=bundle, deadline_ms=20_000) as client:
        yield client


@pytest.fixture
def rows(database_url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def metadata(sentence: str, variant: Variant = Variant.ALAW, *, ttl_s: int | None = 60) -> CacheMetadata:
    return CacheMetadata(
        sentence=sentence,
        voice="es/ef_dora",
        model="kokoro:kokoro-82m",
        variant=AudioVariant.of(variant, 800),
        ttl_s=ttl_s,
    )


def expire(rows: psycopg.Connection[tuple[Any, ...]]) -> None:
    rows.execute("UPDATE tts_media_cache SET ttl = now() - interval '1 minute' WHERE ttl IS NOT NULL")


def count(rows: psycopg.Connection[tuple[Any, ...]]) -> int:
    row = rows.execute("SELECT count(*) FROM tts_media_cache").fetchone()
    assert row
    return row[0]


def listed(rows: psycopg.Connection[tuple[Any, ...]]) -> set[str]:
    return {row[0] for row in rows.execute("SELECT hash FROM tts_media_cache")}


def stored(media: MediaHost) -> set[str]:
    return {file.name.partition(".")[0] for file in media.objects()}


def invoke(event: dict[str, Any] | None = None, remaining_ms: int = 60_000) -> dict[str, Any]:
    context: Any = Context(remaining_ms)
    return json.loads(json.dumps(handler(EVENT if event is None else event, context)))


def test_the_function_deletes_every_variant_then_the_row(
    media: MediaHost, cache: MediaCacheClient, rows: psycopg.Connection[tuple[Any, ...]]
):
    over = [metadata(f"over {number}", variant) for number in range(12) for variant in Variant]
    kept = metadata("for ever", ttl_s=None)
    for one in (*over, kept):
        assert cache.put(one, b"\x55" * 800)
    expire(rows)
    assert invoke({**EVENT, "dry_run": True}) == asdict(CleanupReport(rows_removed=12, objects_removed=24))
    assert len(media.objects()) == 25
    assert invoke() == asdict(CleanupReport(rows_removed=12, objects_removed=24))
    assert [file.name for file in media.objects()] == [f"{kept.key}.alaw"]
    assert count(rows) == 1
    assert invoke() == asdict(CleanupReport())


def test_an_object_that_is_gone_already_is_as_good_as_deleted(
    media: MediaHost, cache: MediaCacheClient, rows: psycopg.Connection[tuple[Any, ...]]
):
    cache.put(metadata("over"), b"\x55" * 800)
    expire(rows)
    for file in media.objects():
        file.unlink()
    assert invoke() == asdict(CleanupReport(rows_removed=1, objects_removed=0))
    assert count(rows) == 0


def test_a_wrong_token_keeps_rows_and_fails_the_invocation(
    media: MediaHost,
    cache: MediaCacheClient,
    rows: psycopg.Connection[tuple[Any, ...]],
    monkeypatch: pytest.MonkeyPatch,
):
    for number in range(3):
        cache.put(metadata(f"over {number}"), b"\x55" * 800)
    expire(rows)
    monkeypatch.setenv("TTS_MEDIA_CACHE_UPLOAD_TOKEN", "tok-of-somebody-else-0")
    with pytest.raises(CleanupFailedError, match="401"):
        invoke()
    assert (count(rows), len(media.objects())) == (3, 3)


def test_a_host_that_is_down_keeps_rows_until_it_is_back(
    media: MediaHost,
    cache: MediaCacheClient,
    rows: psycopg.Connection[tuple[Any, ...]],
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
):
    for number in range(30):
        cache.put(metadata(f"over {number}"), b"\x55" * 800)
    expire(rows)
    media.stop()
    with pytest.raises(CleanupFailedError, match="cannot be reached"):
        invoke()
    assert count(rows) == 30
    with MediaHost(media.folder, DATABASE_URL=database_url) as again:
        monkeypatch.setenv(
            "TTS_MEDIA_CACHE_BASE_URL", again.variables["TTS_MEDIA_CACHE_BASE_URL"]
        )  # another port
        assert invoke()["rows_removed"] == 30
        assert not again.objects()


def test_without_its_variables_the_function_says_which(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("POWERTOOLS_TRACE_DISABLED", "true")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(ConfigurationError, match="DATABASE_URL"):
        invoke()


def test_uploads_beside_clean_ups_end_with_row_and_object(
    media: MediaHost, cache: MediaCacheClient, rows: psycopg.Connection[tuple[Any, ...]]
):
    """Ten sentences, uploaded again and again while two clean-ups find them over again and again.

    An object whose upload was overtaken between row and object may have no row, which is for the sweep; a row without
    its object would be a hit that is none.
    """
    cache.put(metadata("the first"), b"\x55" * 800)
    sentences = [f"sentence {number}" for number in range(10)]
    stop = threading.Event()

    def clean() -> None:
        while not stop.is_set():
            expire(rows)
            invoke()

    with ThreadPoolExecutor(2) as threads:
        cleaners = [threads.submit(clean) for _ in range(2)]
        try:
            for sentence in sentences * 8:
                # Where a clean-up holds the row for too long it is told, and not stored.
                with suppress(MediaCacheError):
                    cache.put(metadata(sentence), b"\x55" * 800)
        finally:
            stop.set()
        for cleaner in cleaners:
            cleaner.result(60)
    assert listed(rows) <= stored(media)
    for sentence in sentences:
        cache.put(metadata(sentence, ttl_s=None), b"\x55" * 800)
    invoke()
    expected = {metadata(sentence).key for sentence in sentences}
    assert listed(rows) == expected
    assert expected <= stored(media)
    assert all(cache.exists(key, Variant.ALAW) for key in expected)


def test_the_command_reports_and_sweeps_objects_without_a_row(
    media: MediaHost, cache: MediaCacheClient, rows: psycopg.Connection[tuple[Any, ...]]
):
    cache.put(metadata("for ever", ttl_s=None), b"\x55" * 800)
    assert media.put(path_of("nobody's"), b"\x55" * 800).status == 201
    assert media.put(path_of("nobody's, and new"), b"\x55" * 800).status == 201
    stray = media.file(path_of("nobody's"))
    changed_s = stray.stat().st_mtime - OLD_S
    os.utime(stray, (changed_s, changed_s))
    for file in media.objects():
        if file.name.startswith(metadata("for ever").key):
            os.utime(file, (changed_s, changed_s))
    runner, data_dir = CliRunner(), str(media.data_dir)
    said = runner.invoke(app, ["media", "cleanup", "--data-dir", data_dir])
    assert (said.exit_code, stray.exists()) == (0, True), said.output
    assert "1 objects without a row" in said.output
    swept = runner.invoke(app, ["media", "cleanup", "--data-dir", data_dir, "--sweep", "--json"])
    assert json.loads(swept.stdout) == asdict(CleanupReport(orphans=1, orphan_bytes=800, orphans_removed=1))
    assert not stray.exists()
    assert len(media.objects()) == 2
    assert count(rows) == 1


def test_the_command_wants_to_know_where_to_sweep():
    refused = CliRunner().invoke(app, ["media", "cleanup", "--sweep"])
    assert isinstance(refused.exception, ConfigurationError)
