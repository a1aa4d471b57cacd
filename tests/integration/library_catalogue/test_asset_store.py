"""Assets in a real Postgres, and scans of a bucket that is a dictionary."""

import random
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from livedub.library.assets import AssetStore, NoSuchAssetError, ScannedAssets
from livedub.library.catalogue import Catalogue
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.media_types import REGISTERED_EXTENSIONS
from livedub.library.object_keys import ObjectInfo, has_extension
from livedub.library.scan import scan_bucket
from livedub.library.types import (
    Asset,
    AssetStatus,
    BucketRole,
    MediaError,
    MediaInfo,
    MediaStream,
    PageRequest,
    ScanResult,
    StreamKind,
)

Ask = Callable[..., list[tuple[Any, ...]]]
NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
FILM = MediaInfo(
    container="matroska,webm",
    duration_ms=61_500,
    streams=(
        MediaStream(
            index=0, kind=StreamKind.VIDEO, codec="h264", width=1_920, height=1_080, frame_rate="25/1"
        ),
        MediaStream(
            index=1, kind=StreamKind.AUDIO, codec="aac", language="es", sample_rate_hz=48_000, channels=2
        ),
    ),
)
SONG = MediaInfo(
    container="mp3", duration_ms=1_000, streams=(MediaStream(index=0, kind=StreamKind.AUDIO, codec="mp3"),)
)
BROKEN = MediaError(code=LibraryErrorCode.TRUNCATED, message="Half of it is missing.")


class Bucket:
    """Objects by key; `before` runs with the number of objects listed so far."""

    def __init__(self, *keys: str) -> None:
        self.objects: dict[str, ObjectInfo] = {}
        self.before: Callable[[int], None] = lambda _count: None
        self.store(*keys)

    def store(self, *keys: str, etag: str = "e1") -> None:
        for key in keys:
            self.objects[key] = stored(key, etag)

    def list_objects(
        self, bucket: str, prefix: str = "", extensions: Collection[str] | None = None
    ) -> Iterator[ObjectInfo]:
        assert bucket == "the-bucket"
        for count, key in enumerate(sorted(self.objects, key=str.encode)):
            self.before(count)
            if key.startswith(prefix) and (extensions is None or has_extension(key, extensions)):
                yield self.objects[key]


def stored(key: str, etag: str = "e1") -> ObjectInfo:
    return ObjectInfo(key, 1_000, etag, NOON)


@pytest.fixture
def assets(catalogue: Catalogue) -> Any:
    return catalogue.assets


def scan(bucket: Bucket, assets: ScannedAssets, prefix: str = "") -> ScanResult:
    return scan_bucket(bucket, assets, prefix, bucket_name="the-bucket")


def known(assets: AssetStore, key: str) -> Asset:
    asset = assets.find(BucketRole.IN, key)
    assert asset is not None
    return asset


def counts(result: ScanResult) -> tuple[int, int, int, int, int]:
    return result.found, result.registered, result.skipped, result.changed, result.gone


def rows(sql: Ask) -> list[tuple[Any, ...]]:
    """All of every row, and where it lies: any write moves it."""
    return sql("SELECT *, ctid::text, xmin::text FROM media_assets ORDER BY bucket, key")


def test_a_first_scan_registers_what_is_media_by_name(assets: Any):
    bucket = Bucket("a/b.MP4", "a/b.txt", "z.mp3", "año/ü 🎬.mkv", "no-extension", "cover.jpg")
    result = scan(bucket, assets)
    assert counts(result) == (3, 3, 0, 0, 0)
    assert result.files == ("a/b.MP4", "año/ü 🎬.mkv", "z.mp3")
    asset = known(assets, "a/b.MP4")
    assert (asset.size_bytes, asset.etag, asset.modified_at) == (1_000, "e1", NOON)
    assert (asset.status, asset.streams, asset.duration_ms) == (AssetStatus.REGISTERED, (), None)


def test_a_repeated_scan_touches_no_row(assets: Any, sql: Ask):
    bucket = Bucket(*(f"{number}.mp4" for number in range(50)))
    scan(bucket, assets)
    before = rows(sql)
    result = scan(bucket, assets)
    assert counts(result) == (50, 0, 50, 0, 0)
    assert result.files == ()
    assert rows(sql) == before


def test_what_changed_is_to_be_read_again(assets: Any):
    bucket = Bucket("a.mp4", "b.mp4")
    scan(bucket, assets)
    before = known(assets, "a.mp4")
    assets.read(before, FILM)
    bucket.store("a.mp4", etag="e2")
    result = scan(bucket, assets)
    assert (counts(result), result.files) == ((2, 0, 1, 1, 0), ("a.mp4",))
    after = known(assets, "a.mp4")
    assert (after.status, after.etag, after.streams, after.container) == (
        AssetStatus.REGISTERED,
        "e2",
        (),
        "",
    )
    assert after.id == before.id


def test_what_is_gone_is_remembered_and_comes_back(assets: Any):
    bucket = Bucket("a.mp4", "b.mp4")
    scan(bucket, assets)
    asset = known(assets, "a.mp4")
    del bucket.objects["a.mp4"]
    assert counts(scan(bucket, assets)) == (1, 0, 1, 0, 1)
    assert known(assets, "a.mp4").status is AssetStatus.GONE
    assert counts(scan(bucket, assets)) == (1, 0, 1, 0, 0)
    bucket.store("a.mp4")
    result = scan(bucket, assets)
    assert (counts(result), result.files) == ((2, 1, 1, 0, 0), ("a.mp4",))
    assert (known(assets, "a.mp4").status, known(assets, "a.mp4").id) == (AssetStatus.REGISTERED, asset.id)


def test_an_empty_bucket_takes_all_with_it(assets: Any):
    bucket = Bucket("a.mp4", "b.mp4")
    scan(bucket, assets)
    bucket.objects.clear()
    assert counts(scan(bucket, assets)) == (0, 0, 0, 0, 2)


def test_a_scan_of_a_prefix_says_nothing_of_the_rest(assets: Any):
    bucket = Bucket("live/a.mp4", "live0.mp4", "live/", "livf.mp4", "a.mp4")
    scan(bucket, assets)
    bucket.objects.clear()
    bucket.store("live/b.mp4")
    assert counts(scan(bucket, assets, "live/")) == (1, 1, 0, 0, 1)
    assert known(assets, "live0.mp4").status is AssetStatus.REGISTERED
    assert known(assets, "a.mp4").status is AssetStatus.REGISTERED


def test_the_other_bucket_is_another_matter(assets: Any):
    assets.register(BucketRole.OUT, [stored("a.mp4")])
    assert counts(scan(Bucket(), assets)) == (0, 0, 0, 0, 0)
    found = assets.find(BucketRole.OUT, "a.mp4")
    assert found is not None
    assert found.status is AssetStatus.REGISTERED


def test_keys_that_our_rules_refuse_are_passed_over(assets: Any, caplog: pytest.LogCaptureFixture):
    result = scan(Bucket("a/../b.mp4", "c\nd.mp4", "good.mp4"), assets)
    assert (counts(result), result.files) == ((1, 1, 0, 0, 0), ("good.mp4",))
    assert "passed over" in caplog.text


def test_a_prefix_that_begins_no_key_is_refused(assets: Any):
    with pytest.raises(LibraryError) as refused:
        scan(Bucket(), assets, "../")
    assert refused.value.code is LibraryErrorCode.BAD_KEY


def test_scans_at_once_register_each_file_once(catalogue: Catalogue, sql: Ask):
    bucket = Bucket(*(f"{number:04}.mp4" for number in range(3_000)))
    at_once = threading.Barrier(4)

    def one(_number: int) -> ScanResult:
        at_once.wait(30)
        return scan(bucket, catalogue.assets)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(one, range(4)))
    assert sum(result.registered for result in results) == 3_000
    assert all(result.found == 3_000 and result.gone == result.changed == 0 for result in results)
    assert sql("SELECT count(*), count(DISTINCT key) FROM media_assets") == [(3_000, 3_000)]


def test_scans_at_once_of_a_bucket_that_changes_end_right(catalogue: Catalogue):
    """Whatever meets whatever: the scan after them finds all as it is."""
    draw = random.Random(6)
    keys = [f"{number:03}.mp4" for number in range(200)]
    bucket = Bucket(*keys)
    for round_number in range(5):
        for key in draw.sample(keys, 40):
            if draw.random() < 0.4:
                bucket.objects.pop(key, None)
            else:
                bucket.store(key, etag=f"e{round_number}")
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda _: scan(bucket, catalogue.assets), range(3)))
    found = {asset.key: asset for asset in all_of(catalogue.assets) if asset.status is not AssetStatus.GONE}
    assert {key: asset.etag for key, asset in found.items()} == {
        key: one.etag for key, one in bucket.objects.items()
    }


def all_of(assets: AssetStore) -> list[Asset]:
    found: list[Asset] = []
    cursor = None
    while True:
        page = assets.list(PageRequest(limit=200, cursor=cursor))
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


def test_an_upload_beside_a_scan_is_not_taken_for_gone(assets: Any):
    """The listing has passed the key's place when it is stored and registered."""
    bucket = Bucket("b.mp4", "c.mp4")

    def upload(count: int) -> None:
        if count == 1:
            assets.register(BucketRole.IN, [stored("a.mp4")])

    bucket.before = upload
    assert counts(scan(bucket, assets)) == (2, 2, 0, 0, 0)
    assert known(assets, "a.mp4").status is AssetStatus.REGISTERED


def test_an_old_listing_does_not_undo_a_new_upload(assets: Any):
    bucket = Bucket("a.mp4", "b.mp4")
    scan(bucket, assets)

    def replace_it(count: int) -> None:
        if count == 1:
            assets.register(BucketRole.IN, [stored("a.mp4", "e2")])

    bucket.before = replace_it
    assert counts(scan(bucket, assets)) == (2, 0, 2, 0, 0)
    assert known(assets, "a.mp4").etag == "e2"


def test_a_scan_that_breaks_off_is_finished_by_the_next(assets: Any):
    bucket = Bucket(*(f"{number:04}.mp4" for number in range(100)))
    scan(bucket, assets)

    def fail(count: int) -> None:
        if count == 60:
            raise LibraryError(LibraryErrorCode.ENDPOINT_DOWN, "It went away.")

    bucket.store("0000.mp4", "0099.mp4", etag="e2")
    bucket.before = fail
    with pytest.raises(LibraryError, match="went away"):
        scan(bucket, assets)
    # Of a listing that was not read to its end, nothing is taken for gone.
    assert assets.counts()[AssetStatus.GONE] == 0
    bucket.before = lambda _count: None
    assert counts(scan(bucket, assets)) == (100, 0, 98, 2, 0)


def test_registering_tells_what_is_new(assets: Any):
    first = assets.register(BucketRole.IN, [stored("a.mp4"), stored("b.vtt")])
    assert (first.new, first.changed) == ({"a.mp4", "b.vtt"}, frozenset())
    again = assets.register(BucketRole.IN, [stored("a.mp4"), stored("b.vtt", "e2"), stored("c.mp4")])
    assert (again.new, again.changed) == ({"c.mp4"}, {"b.vtt"})
    assert assets.register(BucketRole.IN, []).new == frozenset()


def test_what_was_read_is_kept(assets: Any):
    assets.register(BucketRole.IN, [stored("film.mkv")])
    assert assets.read(known(assets, "film.mkv"), FILM)
    asset = known(assets, "film.mkv")
    assert (asset.status, asset.container, asset.duration_ms) == (
        AssetStatus.READY,
        "matroska,webm",
        61_500,
    )
    assert asset.streams == FILM.streams
    assert assets.get(asset.id) == asset
    assert assets.read(asset, BROKEN)
    broken = known(assets, "film.mkv")
    assert (broken.status, broken.error, broken.streams) == (AssetStatus.UNREADABLE, BROKEN, ())


def test_what_was_read_of_an_older_content_is_dropped(assets: Any):
    assets.register(BucketRole.IN, [stored("film.mkv")])
    old = known(assets, "film.mkv")
    assets.register(BucketRole.IN, [stored("film.mkv", "e2")])
    assert not assets.read(old, FILM)
    assets.mark_gone(BucketRole.IN, ["film.mkv"], listed_since=assets.moment())
    assert not assets.read(replace_etag(old, "e2"), FILM)


def replace_etag(asset: Asset, etag: str) -> Asset:
    return asset.model_copy(update={"etag": etag})


def test_unread_assets_come_in_order(assets: Any):
    assets.register(BucketRole.IN, [stored(key) for key in ("c.mp4", "a.mp4", "b/x.mp4", "b/y.mp4")])
    assets.read(known(assets, "a.mp4"), SONG)
    assert [one.key for one in assets.unread(BucketRole.IN)] == ["b/x.mp4", "b/y.mp4", "c.mp4"]
    assert [one.key for one in assets.unread(BucketRole.IN, prefix="b/", after="b/x.mp4")] == ["b/y.mp4"]
    assert [one.key for one in assets.unread(BucketRole.IN, limit=1)] == ["b/x.mp4"]


def test_assets_are_searched_and_paged(assets: Any):
    keys = ["Ärger/100%_sure.mp4", "a.mp4", "b/Night.mkv", "b/night2.mp3", "c\\d.mp4"]
    assets.register(BucketRole.IN, [stored(key) for key in keys])
    assets.register(BucketRole.OUT, [stored("a.mp4")])
    assets.read(known(assets, "b/night2.mp3"), SONG)
    assets.read(known(assets, "b/Night.mkv"), FILM)

    def found(**narrowed: Any) -> list[tuple[str, str]]:
        return [(one.bucket.value, one.key) for one in assets.list(**narrowed).items]

    assert found() == [("in", key) for key in sorted(keys, key=str.encode)] + [("out", "a.mp4")]
    assert found(bucket=BucketRole.OUT) == [("out", "a.mp4")]
    assert found(search="NIGHT") == [("in", "b/Night.mkv"), ("in", "b/night2.mp3")]
    assert found(search="100%_s") == [("in", "Ärger/100%_sure.mp4")]
    assert found(search="%") == [("in", "Ärger/100%_sure.mp4")]
    assert found(search="c\\d") == [("in", "c\\d.mp4")]
    assert found(prefix="b/") == [("in", "b/Night.mkv"), ("in", "b/night2.mp3")]
    assert found(prefix="b/", search="2") == [("in", "b/night2.mp3")]
    assert found(kind=StreamKind.VIDEO) == [("in", "b/Night.mkv")]
    assert found(status=AssetStatus.READY) == [("in", "b/Night.mkv"), ("in", "b/night2.mp3")]
    assert found(status=AssetStatus.GONE) == []
    assert sorted(found()) == sorted((one.bucket.value, one.key) for one in paged(assets, 2))


def paged(assets: AssetStore, limit: int) -> list[Asset]:
    pages: list[Asset] = []
    cursor = None
    for _ in range(10):
        page = assets.list(PageRequest(limit=limit, cursor=cursor))
        assert len(page.items) <= limit
        pages += page.items
        cursor = page.next_cursor
        if cursor is None:
            return pages
    raise AssertionError("the pages never end")


@pytest.mark.parametrize("cursor", ["", "nonsense", "WyJpbiJd", "bnVsbA"])
def test_a_cursor_that_was_never_given_out_is_refused(assets: Any, cursor: str):
    with pytest.raises(LibraryError) as refused:
        assets.list(PageRequest(cursor=cursor))
    assert refused.value.code is LibraryErrorCode.INVALID_REQUEST


def test_assets_are_counted(assets: Any):
    assets.register(BucketRole.IN, [stored("a.mp4"), stored("b.mp4")])
    assets.read(known(assets, "a.mp4"), FILM)
    assert assets.counts() == {
        AssetStatus.REGISTERED: 1,
        AssetStatus.READY: 1,
        AssetStatus.UNREADABLE: 0,
        AssetStatus.GONE: 0,
    }


def test_an_unknown_asset_is_none(assets: Any):
    assert assets.find(BucketRole.IN, "a.mp4") is None
    with pytest.raises(NoSuchAssetError):
        assets.get(uuid4())


@pytest.mark.parametrize(
    "change",
    [
        "status = 'LOST'",
        "status = 'UNREADABLE'",
        "bucket = 'elsewhere'",
        "size_bytes = -1",
        "duration_ms = -1",
        "streams = '{}'",
        "key = ''",
        "key = repeat('x', 1025)",
    ],
)
def test_the_table_refuses_what_makes_no_sense(assets: Any, sql: Ask, change: str):
    assets.register(BucketRole.IN, [stored("a.mp4")])
    with pytest.raises(psycopg.errors.IntegrityError):
        sql(f"UPDATE media_assets SET {change}")  # noqa: S608 - the cases above


def test_it_is_all_that_is_asked_of_it(catalogue: Catalogue):
    scanned: ScannedAssets = catalogue.assets
    listed: AssetStore = catalogue.assets
    assert scanned.known(BucketRole.IN, "", "", 1) == []
    assert listed.list().items == ()
    assert has_extension("a.vtt", REGISTERED_EXTENSIONS)


def test_a_listing_that_goes_through_folders_first_is_no_trouble(assets: Any):
    """SeaweedFS lists `a/x` before `a-b/x`, against the order of their bytes."""
    keys = ["a/x.mp4", "a/y.mp4", "a-b/x.mp4", "a.b/x.mp4", "a0.mp4"]

    class Folders(Bucket):
        def list_objects(
            self, bucket: str, prefix: str = "", extensions: Collection[str] | None = None
        ) -> Iterator[ObjectInfo]:
            yield from sorted(
                super().list_objects(bucket, prefix, extensions), key=lambda one: one.key.split("/")
            )

    bucket = Folders(*keys)
    assert counts(scan(bucket, assets)) == (5, 5, 0, 0, 0)
    assert counts(scan(bucket, assets)) == (5, 0, 5, 0, 0)
    del bucket.objects["a-b/x.mp4"]
    assert counts(scan(bucket, assets)) == (4, 0, 4, 0, 1)


def test_times_of_any_zone_are_kept(assets: Any):
    elsewhere = timezone(timedelta(hours=5, minutes=30))
    assets.register(BucketRole.IN, [replace(stored("a.mp4"), modified_at=NOON.astimezone(elsewhere))])
    assert known(assets, "a.mp4").modified_at == NOON
    assert known(assets, "a.mp4").modified_at.utcoffset() == timedelta(0)
