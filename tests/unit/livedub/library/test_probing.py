"""Reading what a scan has registered."""

from collections.abc import Sequence
from datetime import datetime, timezone
from uuid import UUID, uuid4

import pytest

from livedub.library.library_errors import (
    AccessDeniedError,
    LibraryError,
    LibraryErrorCode,
    MissingKeyError,
    SourceChangedError,
    StorageUnavailableError,
)
from livedub.library.object_keys import ObjectInfo
from livedub.library.probing import ReadResult, read_assets
from livedub.library.types import Asset, AssetStatus, BucketRole, MediaError, MediaInfo

from .media_samples import sample

NOON = datetime(2026, 1, 1, tzinfo=timezone.utc)


class Storage:
    def __init__(self, **contents: bytes | LibraryError) -> None:
        self.contents = {name.replace("_", "."): content for name, content in contents.items()}
        self.etags: dict[str, str] = {}

    def read_range(self, bucket: str, info: ObjectInfo, start: int, end: int) -> bytes:
        assert bucket == "the-bucket"
        content = self.contents[info.key]
        if isinstance(content, LibraryError):
            raise content
        if self.etags.get(info.key, "e1") != info.etag:
            raise SourceChangedError(bucket, info.key)
        return content[start:end]


class Assets:
    """The catalogue's part of it."""

    def __init__(self, storage: Storage) -> None:
        self.rows = {key: asset(key, content) for key, content in storage.contents.items()}
        self.found: dict[str, MediaInfo | MediaError] = {}
        self.gone: list[str] = []

    def unread(
        self, bucket: BucketRole, *, prefix: str = "", after: str = "", limit: int = 100
    ) -> tuple[Asset, ...]:
        keys = sorted(key for key in self.rows if key > after and key.startswith(prefix))
        return tuple(self.rows[key] for key in keys if key not in self.found)[:limit]

    def read_many(self, found: Sequence[tuple[Asset, MediaInfo | MediaError]]) -> frozenset[UUID]:
        self.found |= {asset.key: what for asset, what in found}
        return frozenset(asset.id for asset, _ in found)

    def mark_gone(self, bucket: BucketRole, keys: Sequence[str], *, listed_since: datetime) -> int:
        assert listed_since == NOON
        self.gone += keys
        return len(keys)

    def moment(self) -> datetime:
        return NOON


def asset(key: str, content: bytes | LibraryError) -> Asset:
    return Asset(
        id=uuid4(),
        bucket=BucketRole.IN,
        key=key,
        size_bytes=len(content) if isinstance(content, bytes) else 1_000,
        etag="e1",
        modified_at=NOON,
        status=AssetStatus.REGISTERED,
        created_at=NOON,
        updated_at=NOON,
    )


def code(found: MediaInfo | MediaError) -> LibraryErrorCode | None:
    return found.code if isinstance(found, MediaError) else None


def read(storage: Storage, assets: Assets, prefix: str = "", budget_s: float | None = None) -> ReadResult:
    return read_assets(storage, assets, prefix, bucket_name="the-bucket", budget_s=budget_s)


def test_each_file_gets_its_verdict():
    storage = Storage(
        a_mp4=sample(".mp4"),
        b_mp3=sample(".mp3"),
        c_mp4=b"no media at all",
        d_mp4=b"",
        e_mp4=sample(".mp4")[:5_000],
        f_avi=sample(".mkv"),
    )
    assets = Assets(storage)
    heard: list[Asset] = []
    result = read_assets(storage, assets, bucket_name="the-bucket", on_read=heard.append)
    assert result == ReadResult(ready=2, unreadable=4, left=0)
    assert {key: code(found) for key, found in assets.found.items()} == {
        "a.mp4": None,
        "b.mp3": None,
        "c.mp4": LibraryErrorCode.NOT_MEDIA,
        "d.mp4": LibraryErrorCode.EMPTY_FILE,
        "e.mp4": LibraryErrorCode.TRUNCATED,
        "f.avi": LibraryErrorCode.WRONG_EXTENSION,
    }
    assert [one.key for one in heard] == sorted(storage.contents)


def test_what_cannot_be_read_now_stays_as_it_is(caplog: pytest.LogCaptureFixture):
    storage = Storage(
        a_mp4=AccessDeniedError("reading a.mp4"),
        b_mp4=MissingKeyError("the-bucket", "b.mp4"),
        c_mp4=sample(".mp4"),
        d_mp4=sample(".mp4"),
    )
    storage.etags["c.mp4"] = "e2"
    assets = Assets(storage)
    assert read(storage, assets) == ReadResult(ready=1, unreadable=0, left=3)
    assert set(assets.found) == {"d.mp4"}
    assert assets.gone == ["b.mp4"]
    assert "a.mp4" in caplog.text


def test_a_storage_that_is_down_ends_it():
    storage = Storage(a_mp4=sample(".mp4"), b_mp4=StorageUnavailableError("reading", "nobody there"))
    assets = Assets(storage)
    with pytest.raises(StorageUnavailableError):
        read(storage, assets)
    assert assets.found == {}


def test_more_than_a_page_is_read():
    storage = Storage(**{f"{number:03}_wav": b"x" for number in range(230)})
    assets = Assets(storage)
    assert read(storage, assets) == ReadResult(ready=0, unreadable=230, left=0)


def test_without_time_nothing_is_begun():
    storage = Storage(a_mp4=sample(".mp4"))
    assets = Assets(storage)
    assert read(storage, assets, budget_s=0) == ReadResult(left=1)
    assert assets.found == {}


def test_only_what_begins_so_is_read():
    storage = Storage(a_mp4=b"x", b_mp4=b"x")
    assets = Assets(storage)
    assert read(storage, assets, "b") == ReadResult(ready=0, unreadable=1, left=0)
    assert set(assets.found) == {"b.mp4"}
