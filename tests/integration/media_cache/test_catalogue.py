"""The catalogue in a real Postgres, and the clean-up on it, with a cache that is a dictionary."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from livedub.database.errors import DatabaseError
from livedub.media_cache.catalogue_port import CacheEntry, Catalogue, ExpiringCatalogue
from livedub.media_cache.catalogue_store import PostgresCatalogue, connect_catalogue
from livedub.media_cache.cleanup import Cleanup, CleanupOptions, CleanupReport, StoredBlob
from livedub.media_cache.errors import MediaCacheUnavailableError
from livedub.media_cache.key import ObjectPath, Variant
from livedub.media_cache.wire import AudioVariant, CacheMetadata

DAY_S = 24 * 3_600.0


@pytest.fixture
def catalogue(database_url: str) -> Iterator[PostgresCatalogue]:
    opened = connect_catalogue(database_url)
    yield opened
    opened.close()


@pytest.fixture
def sql(database_url: str) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
    with psycopg.connect(database_url, autocommit=True) as connection:

        def ask(query: str, *parameters: Any) -> list[tuple[Any, ...]]:
            cursor = connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

        yield ask


def entry(
    sentence: str = "hola", variant: Variant = Variant.ALAW, *, ttl_s: int | None = None, size: int = 8_000
) -> CacheEntry:
    return CacheEntry.of(
        CacheMetadata(
            sentence=sentence,
            voice="es/ef_dora",
            model="kokoro:kokoro-82m",
            speed=125,
            variant=AudioVariant.of(variant, size),
            ttl_s=ttl_s,
        )
    )


class Objects:
    """A media cache that keeps names; `before` runs in each deletion."""

    def __init__(self, *entries: CacheEntry) -> None:
        self.held = {(one.hash, one.variant.encoding) for one in entries}
        self.asked: list[tuple[str, Variant]] = []
        self.before: Callable[[str, Variant], None] = lambda _key, _variant: None

    def delete(self, key: str, variant: Variant) -> bool:
        self.asked.append((key, variant))
        self.before(key, variant)
        existed = (key, variant) in self.held
        self.held.discard((key, variant))
        return existed


def expire(sql: Callable[..., Any], seconds: int = 60) -> None:
    sql("UPDATE tts_media_cache SET ttl = now() - make_interval(secs => %s)", seconds)


def test_it_is_both_catalogues(catalogue: PostgresCatalogue):
    writing: Catalogue = catalogue
    cleaning: ExpiringCatalogue = catalogue
    assert writing.ready()
    assert cleaning.now().tzinfo is not None


def test_a_row_says_what_was_uploaded(catalogue: PostgresCatalogue, sql: Callable[..., Any]):
    catalogue.record([entry("¿Qué tal?", ttl_s=3_600)])
    ((key, sentence, voice, model, speed, variants, kept_s),) = sql(
        "SELECT hash, sentence, voice, model, speed, variants, extract(epoch FROM ttl - created_at)"
        " FROM tts_media_cache"
    )
    assert (key, sentence) == (entry("¿Qué tal?").hash, "¿Qué tal?")
    assert (voice, model, str(speed)) == ("es/ef_dora", "kokoro:kokoro-82m", "1.25")
    assert variants == [{"encoding": "alaw", "sample_rate_hz": 8_000, "channels": 1, "duration_ms": 1_000}]
    assert kept_s == 3_600


def test_variants_of_a_key_share_a_row_the_newest_first(
    catalogue: PostgresCatalogue, sql: Callable[..., Any]
):
    for one in (entry(), entry(variant=Variant.PCM), entry(size=16_000)):
        catalogue.record([one])
    ((variants,),) = sql("SELECT variants FROM tts_media_cache")
    assert [(one["encoding"], one["duration_ms"]) for one in variants] == [("alaw", 2_000), ("pcm", 167)]


@pytest.mark.parametrize(
    ("first", "second", "kept_s"),
    [(60, 3_600, 3_600), (3_600, 60, 3_600), (None, 60, None), (60, None, None), (None, None, None)],
)
def test_the_longest_keeping_time_counts(
    catalogue: PostgresCatalogue,
    sql: Callable[..., Any],
    first: int | None,
    second: int | None,
    kept_s: int | None,
):
    catalogue.record([entry(ttl_s=first)])
    catalogue.record([entry(ttl_s=second)])
    ((found,),) = sql("SELECT round(extract(epoch FROM ttl - created_at)) FROM tts_media_cache")
    # The second counts from its own moment, a little after the first.
    assert found is None if kept_s is None else 0 <= found - kept_s < 60


@pytest.mark.parametrize("sentence", ["x" * 4_000, "'; DROP TABLE tts_media_cache; --", "\\x00 %s {} 語 🎬"])
def test_any_sentence_is_kept_to_the_letter(
    catalogue: PostgresCatalogue, sql: Callable[..., Any], sentence: str
):
    catalogue.record([entry(sentence)])
    assert sql("SELECT sentence FROM tts_media_cache") == [(sentence,)]


@pytest.mark.parametrize(
    "change", ["hash = 'ABC'", "speed = 0.2", "speed = 4.01", "variants = '{}'", "sentence = NULL"]
)
def test_the_table_refuses_what_makes_no_sense(
    catalogue: PostgresCatalogue, sql: Callable[..., Any], change: str
):
    catalogue.record([entry()])
    with pytest.raises(psycopg.errors.IntegrityError):
        sql(f"UPDATE tts_media_cache SET {change}")  # noqa: S608 - the cases above


def test_a_forgotten_variant_leaves_the_others_and_the_last_takes_the_row(
    catalogue: PostgresCatalogue, sql: Callable[..., Any]
):
    catalogue.record([entry()])
    catalogue.record([entry(variant=Variant.PCM)])
    catalogue.forget(entry().hash, Variant.ALAW)
    ((variants,),) = sql("SELECT variants FROM tts_media_cache")
    assert [one["encoding"] for one in variants] == ["pcm"]
    catalogue.forget(entry().hash, Variant.ALAW)
    catalogue.forget(entry("never heard").hash, Variant.ALAW)
    assert sql("SELECT count(*) FROM tts_media_cache") == [(1,)]
    catalogue.forget(entry().hash, Variant.PCM)
    assert sql("SELECT count(*) FROM tts_media_cache") == [(0,)]


def test_forgetting_passes_over_a_row_that_is_held(
    catalogue: PostgresCatalogue, database_url: str, sql: Callable[..., Any]
):
    catalogue.record([entry()])
    with psycopg.connect(database_url) as other:
        other.execute("SELECT 1 FROM tts_media_cache FOR UPDATE")
        catalogue.forget(entry().hash, Variant.ALAW)
    assert sql("SELECT count(*) FROM tts_media_cache") == [(1,)]


def test_recording_gives_up_on_a_row_that_stays_held(
    catalogue: PostgresCatalogue, database_url: str, sql: Callable[..., Any]
):
    catalogue.record([entry()])
    with psycopg.connect(database_url) as other:
        other.execute("SELECT 1 FROM tts_media_cache FOR UPDATE")
        with pytest.raises(DatabaseError):
            catalogue.record([entry(variant=Variant.PCM)])
    catalogue.record([entry(variant=Variant.PCM)])
    assert sql("SELECT jsonb_array_length(variants) FROM tts_media_cache") == [(2,)]


def test_rows_of_one_statement_are_as_rows_of_many(catalogue: PostgresCatalogue, sql: Callable[..., Any]):
    catalogue.record([entry("known", ttl_s=60)])
    catalogue.record(
        [entry("known", Variant.PCM, ttl_s=3_600), entry("¿nueva?"), entry('"quoted" \\ %s', ttl_s=60)]
    )
    rows = sql(
        "SELECT sentence, jsonb_array_length(variants), ttl IS NULL FROM tts_media_cache ORDER BY sentence"
    )
    assert sorted(rows) == sorted([("known", 2, False), ("¿nueva?", 1, True), ('"quoted" \\ %s', 1, False)])


def test_a_refused_row_takes_its_statement_with_it(catalogue: PostgresCatalogue, sql: Callable[..., Any]):
    wrong = replace(entry("wrong"), speed_percent=9_999)
    with pytest.raises(DatabaseError):
        catalogue.record([entry("good"), wrong])
    assert sql("SELECT count(*) FROM tts_media_cache") == [(0,)]


def test_variants_recorded_at_once_are_all_there(catalogue: PostgresCatalogue, sql: Callable[..., Any]):
    entries = [entry(f"sentence {number}", variant) for number in range(20) for variant in Variant]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda one: catalogue.record([one]), entries))
    assert sql("SELECT count(*), min(jsonb_array_length(variants)) FROM tts_media_cache") == [(20, 2)]


def test_without_a_database_it_says_so(tmp_path: Any):
    catalogue = connect_catalogue(f"postgresql:///postgres?host={tmp_path}", wait_ms=100)
    try:
        assert not catalogue.ready()
        with pytest.raises(DatabaseError):
            catalogue.record([entry()])
    finally:
        catalogue.close()


def test_a_database_that_takes_no_writes_is_not_ready(
    catalogue: PostgresCatalogue, database_url: str, sql: Callable[..., Any]
):
    name = database_url.rpartition("/")[2].partition("?")[0]
    sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    read_only = connect_catalogue(database_url)
    try:
        assert not read_only.ready()
    finally:
        read_only.close()
    assert catalogue.ready()


def test_what_is_over_goes_and_what_is_not_stays(catalogue: PostgresCatalogue, sql: Callable[..., Any]):
    over = [entry(f"old {number}", variant, ttl_s=60) for number in range(25) for variant in Variant]
    for one in over:
        catalogue.record([one])
    expire(sql)
    kept = [entry("for ever"), entry("not yet", ttl_s=3_600)]
    for one in kept:
        catalogue.record([one])
    cache = Objects(*over, *kept)
    report = Cleanup(catalogue, cache, CleanupOptions(batch_rows=7)).run()
    assert report == CleanupReport(rows_removed=25, objects_removed=50)
    assert sorted(sql("SELECT sentence FROM tts_media_cache")) == [("for ever",), ("not yet",)]
    assert cache.held == {(one.hash, Variant.ALAW) for one in kept}


def test_a_dry_run_deletes_nothing_and_counts_all(catalogue: PostgresCatalogue, sql: Callable[..., Any]):
    over = [entry(f"old {number}", ttl_s=60) for number in range(9)]
    for one in over:
        catalogue.record([one])
    expire(sql)
    cache = Objects(*over)
    report = Cleanup(catalogue, cache, CleanupOptions(batch_rows=2, dry_run=True)).run()
    assert report == CleanupReport(rows_removed=9, objects_removed=9)
    assert not cache.asked
    assert sql("SELECT count(*) FROM tts_media_cache") == [(9,)]


def test_a_failed_deletion_keeps_its_row_for_the_next_run(
    catalogue: PostgresCatalogue, sql: Callable[..., Any]
):
    over = [entry(f"old {number}", ttl_s=60) for number in range(10)]
    for one in over:
        catalogue.record([one])
    expire(sql)
    cache = Objects(*over)
    broken = over[3].hash

    def fail(key: str, _variant: Variant) -> None:
        if key == broken:
            raise MediaCacheUnavailableError("this one cannot be read")

    cache.before = fail
    report = Cleanup(catalogue, cache, CleanupOptions(batch_rows=3, parallel=1)).run()
    assert (report.rows_removed, report.rows_kept, report.failed) == (9, 1, True)
    assert sql("SELECT hash FROM tts_media_cache") == [(broken,)]
    cache.before = lambda _key, _variant: None
    assert Cleanup(catalogue, cache).run() == CleanupReport(rows_removed=1, objects_removed=1)
    assert not cache.held


def test_two_at_once_share_the_work(catalogue: PostgresCatalogue, database_url: str, sql: Callable[..., Any]):
    over = [entry(f"old {number}", ttl_s=60) for number in range(40)]
    for one in over:
        catalogue.record([one])
    expire(sql)
    cache, both = Objects(*over), threading.Barrier(2)
    waited = threading.local()

    def meet(_key: str, _variant: Variant) -> None:
        """Neither goes on before both hold a batch."""
        if not getattr(waited, "once", False):
            waited.once = True
            with suppress(threading.BrokenBarrierError):
                both.wait(20)

    cache.before = meet

    def clean(_: int) -> CleanupReport:
        own = connect_catalogue(database_url)
        try:
            return Cleanup(own, cache, CleanupOptions(batch_rows=10, parallel=1)).run()
        finally:
            own.close()

    with ThreadPoolExecutor(2) as threads:
        reports = list(threads.map(clean, range(2)))
    assert sum(report.rows_removed for report in reports) == 40
    assert all(report.rows_removed >= 10 for report in reports)
    assert len(cache.asked) == 40, "no object was deleted twice"
    assert not cache.held
    assert sql("SELECT count(*) FROM tts_media_cache") == [(0,)]


def test_an_upload_beside_clean_up_ends_with_row_and_object(
    catalogue: PostgresCatalogue, sql: Callable[..., Any]
):
    """The row comes first and waits for the clean-up's lock, so the object follows its deletion."""
    one = entry(ttl_s=60)
    catalogue.record([one])
    expire(sql)
    cache = Objects(one)
    uploads: list[threading.Thread] = []

    def upload() -> None:
        catalogue.record([entry(ttl_s=3_600)])
        cache.held.add((one.hash, Variant.ALAW))

    def begin(_key: str, _variant: Variant) -> None:
        uploads.append(threading.Thread(target=upload))
        uploads[0].start()
        blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        while uploads[0].is_alive() and sql(blocked) == [(0,)]:
            pass

    cache.before = begin
    report = Cleanup(catalogue, cache).run()
    uploads[0].join(30)
    assert report.rows_removed == 1
    assert cache.held == {(one.hash, Variant.ALAW)}
    ((left,),) = sql("SELECT ttl - now() FROM tts_media_cache")
    assert left > timedelta(minutes=30)


def test_a_row_refreshed_just_before_stays(catalogue: PostgresCatalogue, sql: Callable[..., Any]):
    catalogue.record([entry(ttl_s=60)])
    expire(sql)
    cutoff = catalogue.now()
    catalogue.record([entry(ttl_s=3_600)])
    with catalogue.hold_expired(cutoff, None, 10) as batch:
        assert batch.rows == ()


def test_nothing_is_deleted_of_a_batch_that_failed(catalogue: PostgresCatalogue, sql: Callable[..., Any]):
    catalogue.record([entry(ttl_s=60)])
    expire(sql)

    def attempt() -> None:
        with catalogue.hold_expired(catalogue.now(), None, 10) as batch:
            batch.done.add(batch.rows[0].hash)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        attempt()
    assert sql("SELECT count(*) FROM tts_media_cache") == [(1,)]


def blob(one: CacheEntry, *, age_s: float = 2 * DAY_S) -> StoredBlob:
    return StoredBlob(ObjectPath(one.hash[:2], one.hash, one.variant.encoding), 100, 1_000_000 - age_s)


def sweep(catalogue: PostgresCatalogue, cache: Objects, *blobs: StoredBlob, **options: Any) -> CleanupReport:
    chosen = CleanupOptions(**{"sweep": True, **options})
    return Cleanup(catalogue, cache, chosen, wall_clock_s=lambda: 1_000_000.0).run(blobs)


def test_old_objects_without_a_row_are_found_and_on_demand_deleted(
    catalogue: PostgresCatalogue, sql: Callable[..., Any]
):
    known, lost, other_half = entry("known"), entry("lost"), entry("known", Variant.PCM)
    fresh = entry("fresh")
    catalogue.record([known])
    cache = Objects(known, lost, other_half, fresh)
    blobs = (blob(known), blob(lost), blob(other_half), blob(fresh, age_s=DAY_S - 1))
    found = sweep(catalogue, cache, *blobs, sweep=False)
    assert found == CleanupReport(orphans=2, orphan_bytes=200)
    assert sweep(catalogue, cache, *blobs, dry_run=True) == found
    assert not cache.asked
    assert sweep(catalogue, cache, *blobs) == CleanupReport(orphans=2, orphan_bytes=200, orphans_removed=2)
    assert cache.held == {(known.hash, Variant.ALAW), (fresh.hash, Variant.ALAW)}
    assert sql("SELECT sentence, jsonb_array_length(variants) FROM tts_media_cache") == [("known", 1)]


def test_an_upload_beside_the_sweep_waits_for_it(catalogue: PostgresCatalogue, sql: Callable[..., Any]):
    one = entry("lost")
    cache = Objects(one)
    refused: list[DatabaseError] = []

    def upload(_key: str, _variant: Variant) -> None:
        catalogue.forget(one.hash, Variant.ALAW)  # what the deletion itself does must not wait
        try:
            catalogue.record([one])
        except DatabaseError as error:
            refused.append(error)

    cache.before = upload
    assert sweep(catalogue, cache, blob(one)).orphans_removed == 1
    assert len(refused) == 1
    assert sql("SELECT count(*) FROM tts_media_cache") == [(0,)]
    catalogue.record([one])
    assert sql("SELECT count(*) FROM tts_media_cache") == [(1,)]


def test_an_object_that_got_its_row_meanwhile_is_not_swept(catalogue: PostgresCatalogue):
    one = entry()
    with catalogue.reserve(one.hash) as listed:
        assert listed == frozenset()
    catalogue.record([one])
    with catalogue.reserve(one.hash) as listed:
        assert listed == {"alaw"}
        with catalogue.reserve(one.hash) as again:
            assert again is None, "somebody holds it"
