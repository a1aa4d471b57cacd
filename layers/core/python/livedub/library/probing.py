"""Read the content of assets that a scan has registered: container, length and streams go into the catalogue."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.object_keys import ObjectInfo
from livedub.library.probe import probe
from livedub.library.range_file import RangeFile
from livedub.library.types import Asset, BucketRole, MediaError, MediaInfo

logger = logging.getLogger(__name__)

_PAGE = 64
"""Assets read at a time; what they are is written in one go."""
_THREADS = 8
"""Reading waits for the storage most of the time."""

_FAULTS_OF_THE_FILE = frozenset(
    {
        LibraryErrorCode.EMPTY_FILE,
        LibraryErrorCode.NOT_MEDIA,
        LibraryErrorCode.TRUNCATED,
        LibraryErrorCode.UNSUPPORTED_TYPE,
        LibraryErrorCode.WRONG_EXTENSION,
    }
)
_ENDS_ALL = frozenset(
    {LibraryErrorCode.ENDPOINT_DOWN, LibraryErrorCode.NO_SUCH_BUCKET, LibraryErrorCode.CATALOGUE_DOWN}
)
"""The next asset would fare no better."""


class ReadableStorage(Protocol):
    """As much of the storage as is needed here."""

    def read_range(self, bucket: str, info: ObjectInfo, start: int, end: int) -> bytes:
        """An object from byte `start` up to, not including, `end`, as long as it is the one that `info` tells of."""
        ...


class UnreadAssets(Protocol):
    """As much of the catalogue as is needed here."""

    def unread(
        self, bucket: BucketRole, *, prefix: str = "", after: str = "", limit: int = 100
    ) -> tuple[Asset, ...]:
        """Assets whose content nobody has read, behind a key."""
        ...

    def read_many(self, found: Sequence[tuple[Asset, MediaInfo | MediaError]]) -> frozenset[UUID]:
        """Enter what reading assets' contents told; gives the ids of those whose content is still that."""
        ...

    def mark_gone(self, bucket: BucketRole, keys: Sequence[str], *, listed_since: datetime) -> int:
        """Say of keys that they are gone, but leave rows alone that changed after `listed_since`."""
        ...

    def moment(self) -> datetime:
        """The clock that rows are kept by."""
        ...


@dataclass(frozen=True, slots=True)
class ReadResult:
    """How many assets turned out to be media, or something else, and how many could not be read now.

    Attributes:
        ready: media.
        unreadable: no media, or broken; the asset says what.
        left: changed or gone meanwhile, the storage refused, or the time was up; a later scan sees to them.
    """

    ready: int = 0
    unreadable: int = 0
    left: int = 0


def read_assets(
    storage: ReadableStorage,
    assets: UnreadAssets,
    prefix: str = "",
    *,
    bucket_name: str,
    bucket: BucketRole = BucketRole.IN,
    budget_s: float | None = None,
    on_read: Callable[[Asset], None] | None = None,
) -> ReadResult:
    """Read assets that are REGISTERED. Any number of these may run at once; they would do some work twice.

    Args:
        storage: holds the files.
        assets: the catalogue.
        prefix: only keys that begin like this.
        bucket_name: what the storage calls the bucket.
        bucket: its role.
        budget_s: begin no further asset after this time; None goes on to the last one.
        on_read: hears of each asset, in this thread.

    Raises:
        LibraryError: ENDPOINT_DOWN, NO_SUCH_BUCKET or CATALOGUE_DOWN. What was entered so far stays.
    """
    reader = _Reader(storage, assets, bucket_name, assets.moment())
    until_s = None if budget_s is None else time.monotonic() + budget_s
    ready = unreadable = left = 0
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="read-assets") as pool:
        for page in _pages(assets, bucket, prefix):
            begun = [(asset, pool.submit(reader.read, asset, until_s)) for asset in page]
            try:
                found = [(asset, verdict) for asset, reading in begun if (verdict := reading.result())]
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
            kept = assets.read_many(found) if found else frozenset[UUID]()
            broken = sum(isinstance(verdict, MediaError) and asset.id in kept for asset, verdict in found)
            ready += len(kept) - broken
            unreadable += broken
            left += len(page) - len(kept)
            if on_read is not None:
                for asset, _ in begun:
                    on_read(asset)
            if until_s is not None and time.monotonic() >= until_s:
                break
    return ReadResult(ready, unreadable, left)


@dataclass(frozen=True, slots=True)
class _Reader:
    storage: ReadableStorage
    assets: UnreadAssets
    bucket_name: str
    since: datetime

    def read(self, asset: Asset, until_s: float | None) -> MediaInfo | MediaError | None:
        """What an asset is; None where that cannot be told now."""
        if until_s is not None and time.monotonic() >= until_s:
            return None
        file = RangeFile(lambda start, end: self._fetch(asset, start, end), asset.size_bytes)
        try:
            return probe(file, asset.size_bytes, asset.key)
        except LibraryError as error:
            return self._failed(asset, error)

    def _fetch(self, asset: Asset, start: int, end: int) -> bytes:
        info = ObjectInfo(asset.key, asset.size_bytes, asset.etag, asset.modified_at)
        return self.storage.read_range(self.bucket_name, info, start, end)

    def _failed(self, asset: Asset, error: LibraryError) -> MediaError | None:
        if error.code in _ENDS_ALL:
            raise error
        if error.code in _FAULTS_OF_THE_FILE:
            return MediaError.of(error)
        if error.code is LibraryErrorCode.NO_SUCH_KEY:
            self.assets.mark_gone(asset.bucket, [asset.key], listed_since=self.since)
        else:
            logger.warning("%s was not read: %s", asset.key, error)
        return None


def _pages(assets: UnreadAssets, bucket: BucketRole, prefix: str) -> Generator[tuple[Asset, ...]]:
    after = ""
    while True:
        page = assets.unread(bucket, prefix=prefix, after=after, limit=_PAGE)
        if not page:
            return
        yield page
        after = page[-1].key
