"""Bring the catalogue up to what lies in a bucket: new keys, changed ones (by etag), and those that are gone.

Two sequences in the order of their keys are compared in one go, so a million keys need no more memory than a thousand.
What is as it was costs reading only. Scans may run at once, beside uploads too: rows that changed after a scan began
are left alone, and the next scan sees to them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Protocol

from livedub.library.assets import KnownObject, ScannedAssets
from livedub.library.key_order import in_key_order
from livedub.library.library_errors import BadKeyError
from livedub.library.media_types import REGISTERED_EXTENSIONS
from livedub.library.object_keys import ObjectInfo, check_key, check_prefix
from livedub.library.types import MAX_LISTED_FILES, BucketRole, ScanResult

logger = logging.getLogger(__name__)

_WRITE = 2_000
_READ = 5_000
"""Rows a statement."""

OnScan = Callable[[int], None]
"""Hears how many keys were listed so far, each time some hundreds have come."""
_TELL_EVERY = 500


class Verdict(Enum):
    """What is to be done about a key."""

    NEW = "new"
    CHANGED = "changed"
    SAME = "same"
    GONE = "gone"


class Listing(Protocol):
    """As much of the storage as a scan needs."""

    def list_objects(
        self, bucket: str, prefix: str = "", extensions: Collection[str] | None = None
    ) -> Iterator[ObjectInfo]:
        """Every object whose key begins with `prefix` and ends with one of `extensions`."""
        ...


def compare(
    listed: Iterable[ObjectInfo], known: Iterable[KnownObject]
) -> Generator[tuple[Verdict, ObjectInfo | str]]:
    """Compare a listing with the catalogue, both in ascending order of their keys, each key once.

    Yields:
        The verdict with the object or, for what is GONE, with its key. A row that is gone already and not listed
        gives nothing; one that is listed again is NEW.
    """
    rows = iter(known)
    row = next(rows, None)
    for one in listed:
        while row is not None and row.key < one.key:
            if not row.gone:
                yield Verdict.GONE, row.key
            row = next(rows, None)
        if row is None or row.key != one.key:
            yield Verdict.NEW, one
            continue
        yield _known(row, one), one
        row = next(rows, None)
    while row is not None:
        if not row.gone:
            yield Verdict.GONE, row.key
        row = next(rows, None)


def _known(row: KnownObject, listed: ObjectInfo) -> Verdict:
    if row.gone:
        return Verdict.NEW
    return Verdict.SAME if row.etag == listed.etag else Verdict.CHANGED


def scan_bucket(
    storage: Listing,
    assets: ScannedAssets,
    prefix: str = "",
    *,
    bucket_name: str,
    bucket: BucketRole = BucketRole.IN,
    work_dir: Path | None = None,
    on_listed: OnScan | None = None,
) -> ScanResult:
    """Register what is in a bucket under the names of media files. Their content is read by `read_assets`.

    Args:
        storage: lists the bucket.
        assets: the catalogue.
        prefix: look at keys that begin like this only.
        bucket_name: what the storage calls the bucket.
        bucket: its role.
        work_dir: folder for the listing while it is sorted; None takes the system's.
        on_listed: hears of progress.

    Raises:
        LibraryError: BAD_KEY (the prefix); storage or catalogue do not answer. What was written so far stays, and
            another scan goes on from there.
    """
    check_prefix(prefix)
    scan = _Scan(assets, bucket, assets.moment())
    listed = storage.list_objects(bucket_name, prefix, REGISTERED_EXTENSIONS)
    ordered = in_key_order(_telling(listed, on_listed), folder=work_dir)
    for verdict, what in compare(ordered, _rows(assets, bucket, prefix)):
        scan.add(verdict, what)
    result = scan.finish()
    logger.info(
        "scanned %s/%s: %d found, %d registered, %d changed, %d gone",
        bucket_name,
        prefix,
        result.found,
        result.registered,
        result.changed,
        result.gone,
    )
    return result


@dataclass(slots=True)
class _Scan:
    """What was found so far, and what waits to be written."""

    assets: ScannedAssets
    bucket: BucketRole
    listed_since: datetime
    found: int = 0
    registered: int = 0
    changed: int = 0
    gone: int = 0
    files: list[str] = field(default_factory=list[str])
    new_keys: set[str] = field(default_factory=set[str])
    entering: list[ObjectInfo] = field(default_factory=list[ObjectInfo])
    leaving: list[str] = field(default_factory=list[str])

    def add(self, verdict: Verdict, what: ObjectInfo | str) -> None:
        if isinstance(what, str):
            self.leaving.append(what)
        elif verdict is Verdict.NEW:
            # What is known already was looked at when it was new.
            if not _usable(what.key):
                return
            self.new_keys.add(what.key)
            self.entering.append(what)
            self.found += 1
        else:
            self.found += 1
            if verdict is Verdict.SAME:
                return
            self.entering.append(what)
        if max(len(self.entering), len(self.leaving)) >= _WRITE:
            self._write()

    def finish(self) -> ScanResult:
        self._write()
        return ScanResult(
            found=self.found,
            registered=self.registered,
            changed=self.changed,
            skipped=self.found - self.registered - self.changed,
            gone=self.gone,
            files=tuple(self.files),
        )

    def _write(self) -> None:
        if self.entering:
            written = frozenset(self.assets.enter(self.bucket, self.entering, listed_since=self.listed_since))
            self.registered += len(written & self.new_keys)
            self.changed += len(written - self.new_keys)
            names = (one.key for one in self.entering if one.key in written)
            self.files += list(names)[: MAX_LISTED_FILES - len(self.files)]
        if self.leaving:
            self.gone += self.assets.mark_gone(self.bucket, self.leaving, listed_since=self.listed_since)
        self.entering, self.leaving = [], []
        self.new_keys.clear()


def _rows(assets: ScannedAssets, bucket: BucketRole, prefix: str) -> Generator[KnownObject]:
    after = ""
    while True:
        page = assets.known(bucket, prefix, after, _READ)
        yield from page
        if len(page) < _READ:
            return
        after = page[-1].key


def _telling(objects: Iterable[ObjectInfo], on_listed: OnScan | None) -> Generator[ObjectInfo]:
    count = 0
    for one in objects:
        yield one
        count += 1
        if on_listed is not None and count % _TELL_EVERY == 0:
            on_listed(count)
    if on_listed is not None:
        on_listed(count)


def _usable(key: str) -> bool:
    """Whether our rules allow the key; whoever has put one there that they refuse used another program."""
    try:
        check_key(key)
    except BadKeyError as error:
        logger.warning("passed over: %s", error)
        return False
    return True
