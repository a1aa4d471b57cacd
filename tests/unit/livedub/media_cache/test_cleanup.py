"""The clean-up against a catalogue in memory; with Postgres it is in tests/integration/media_cache."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.errors import InvalidInputError
from livedub.media_cache.catalogue_port import CataloguedKey, ExpiredBatch
from livedub.media_cache.cleanup import Cleanup, CleanupOptions, StoredBlob, find_orphans
from livedub.media_cache.errors import MediaCacheError, MediaCacheRefusedError, MediaCacheUnavailableError
from livedub.media_cache.key import ObjectPath, Variant
from livedub.media_cache.stored_blobs import stored_blobs

NOW = datetime(2026, 11, 1, tzinfo=timezone.utc)


def key(number: int) -> str:
    return f"{number:064x}"


class Rows:
    """As many rows as wanted, a second apart, all over; the last is the youngest."""

    def __init__(self, count: int, encodings: tuple[str, ...] = ("alaw",)) -> None:
        self.rows = [
            CataloguedKey(key(number), encodings, NOW - timedelta(seconds=count - number))
            for number in range(count)
        ]
        self.held: list[int] = []
        self.swept: list[str] = []

    def now(self) -> datetime:
        return NOW

    def expired(self, cutoff: datetime, after: CataloguedKey | None, limit: int) -> tuple[CataloguedKey, ...]:
        start = (after.ttl, after.hash) if after else (datetime.min.replace(tzinfo=timezone.utc), "")
        found = [row for row in self.rows if row.ttl < cutoff and (row.ttl, row.hash) > start]
        return tuple(found[:limit])

    @contextmanager
    def hold_expired(
        self, cutoff: datetime, after: CataloguedKey | None, limit: int
    ) -> Iterator[ExpiredBatch]:
        batch = ExpiredBatch(self.expired(cutoff, after, limit))
        self.held.append(len(batch.rows))
        yield batch
        self.rows = [row for row in self.rows if row.hash not in batch.done]

    def listed(self, keys: Sequence[str]) -> Mapping[str, frozenset[str]]:
        return {row.hash: frozenset(row.encodings) for row in self.rows if row.hash in keys}

    @contextmanager
    def reserve(self, key: str) -> Iterator[frozenset[str] | None]:
        self.swept.append(key)
        yield self.listed([key]).get(key, frozenset())


class Cache:
    def __init__(self, *failures: MediaCacheError | None) -> None:
        self.failures = list(failures)
        self.asked: list[tuple[str, Variant]] = []

    def delete(self, key: str, variant: Variant) -> bool:
        self.asked.append((key, variant))
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        return True


def one_by_one(**options: object) -> CleanupOptions:
    return CleanupOptions(**{"parallel": 1, **options})  # type: ignore[arg-type]


@given(st.integers(0, 30), st.integers(1, 12))
def test_every_row_goes_whatever_the_batch(count: int, batch_rows: int):
    rows, cache = Rows(count, ("pcm", "alaw")), Cache()
    report = Cleanup(rows, cache, one_by_one(batch_rows=batch_rows)).run()
    assert (report.rows_removed, report.objects_removed, report.complete) == (count, 2 * count, True)
    assert not rows.rows
    assert max(rows.held) <= batch_rows
    assert len(cache.asked) == 2 * count


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 12))
def test_exactly_what_could_not_be_deleted_stays_and_is_asked_for_once(fails: list[bool], batch_rows: int):
    run, longest = 0, 0
    for failed in fails:
        run = run + 1 if failed else 0
        longest = max(longest, run)
    rows = Rows(len(fails))
    cache = Cache(*(MediaCacheUnavailableError("no") if failed else None for failed in fails))
    report = Cleanup(rows, cache, one_by_one(batch_rows=batch_rows)).run()
    assert report.failed is any(fails)
    assert len(set(cache.asked)) == len(cache.asked)
    if longest < 8:
        assert {row.hash for row in rows.rows} == {key(n) for n, failed in enumerate(fails) if failed}
        assert (report.rows_kept, report.complete) == (sum(fails), True)


def test_a_row_stays_when_one_of_its_objects_does():
    rows = Rows(1, ("pcm", "alaw"))
    report = Cleanup(rows, Cache(None, MediaCacheUnavailableError("no")), one_by_one()).run()
    assert (report.rows_removed, report.rows_kept, report.problem) == (0, 1, "no")
    assert len(rows.rows) == 1


def test_a_host_that_is_down_is_not_asked_for_every_row():
    rows, cache = Rows(1_000), Cache(*(MediaCacheUnavailableError("down") for _ in range(1_000)))
    report = Cleanup(rows, cache, one_by_one(batch_rows=100)).run()
    assert len(cache.asked) == 8
    assert (report.complete, report.rows_kept, report.failed) == (False, 100, True)
    assert len(rows.rows) == 1_000


def test_a_refused_token_ends_it_at_once():
    rows, cache = Rows(50), Cache(MediaCacheRefusedError("HTTP 401", status_code=401))
    report = Cleanup(rows, cache, one_by_one(batch_rows=10)).run()
    assert len(cache.asked) == 1
    assert (report.complete, report.problem) == (False, "HTTP 401")


def test_an_encoding_of_later_code_keeps_its_row():
    rows, cache = Rows(2, ("opus",)), Cache()
    report = Cleanup(rows, cache, one_by_one()).run()
    assert (report.rows_kept, cache.asked) == (2, [])
    assert "opus" in report.problem


def test_time_is_looked_at_between_batches():
    ticks = iter([0.0, 1.0, 2.0, 99.0])
    rows = Rows(100)
    report = Cleanup(
        rows, Cache(), one_by_one(batch_rows=10, budget_s=50.0), clock_s=lambda: next(ticks)
    ).run()
    assert (report.rows_removed, report.complete, report.failed) == (20, False, False)


def path(number: int, variant: Variant = Variant.PCM) -> ObjectPath:
    return ObjectPath(key(number)[:2], key(number), variant)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(Variant), st.floats(0, 200)), max_size=20),
    st.dictionaries(st.integers(0, 5).map(key), st.frozensets(st.sampled_from(["pcm", "alaw"]))),
)
def test_orphans_are_old_and_unlisted_and_all_that_are(
    blobs: list[tuple[int, Variant, float]], listed: dict[str, frozenset[str]]
):
    stored = [StoredBlob(path(number, variant), 1, 1_000 - age_s) for number, variant, age_s in blobs]
    orphans = find_orphans(stored, listed, now_s=1_000, orphan_age_s=100)
    for blob in stored:
        old = 1_000 - blob.modified_s >= 100
        known = blob.path.variant.value in listed.get(blob.path.hash, frozenset())
        assert (blob in orphans) is (old and not known)


def test_blobs_are_looked_up_in_groups_and_swept_only_on_demand():
    rows, cache = Rows(0), Cache()
    blobs = [StoredBlob(path(number), 10, 0.0) for number in range(1_100)]
    found = Cleanup(rows, cache).run(blobs)
    assert (found.orphans, found.orphan_bytes, found.orphans_removed, rows.swept) == (1_100, 11_000, 0, [])
    swept = Cleanup(rows, cache, CleanupOptions(sweep=True)).run(blobs)
    assert (swept.orphans_removed, len(cache.asked)) == (1_100, 1_100)


def test_an_orphan_that_could_not_be_swept_is_a_failure():
    cache = Cache(MediaCacheUnavailableError("no"))
    report = Cleanup(Rows(0), cache, CleanupOptions(sweep=True)).run([StoredBlob(path(1), 10, 0.0)])
    assert (report.orphans_removed, report.orphans_kept, report.failed) == (0, 1, True)


def test_only_objects_are_blobs(tmp_path: Path):
    shard = tmp_path / "media" / "00"
    shard.mkdir(parents=True)
    wanted = shard / f"{key(7)}.pcm"
    wanted.write_bytes(b"12")
    for name in ("README", f"{key(7)}.pcm.tmp", f"{key(7)}.mp3", f"ff{key(7)[2:]}.pcm"):
        (shard / name).write_bytes(b"1")
    (tmp_path / "media" / "index.html").write_bytes(b"1")
    (tmp_path / "staging").mkdir()
    (tmp_path / "staging" / f"{key(8)}.pcm").write_bytes(b"1")
    assert [(blob.path, blob.size_bytes) for blob in stored_blobs(tmp_path)] == [(path(7), 2)]


def test_a_folder_that_is_no_cache_s_is_refused(tmp_path: Path):
    with pytest.raises(InvalidInputError, match="media"):
        list(stored_blobs(tmp_path))
