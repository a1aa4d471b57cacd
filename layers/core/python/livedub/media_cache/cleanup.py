"""The clean-up of the media cache: rows whose time is over go, their objects first; objects without a row are found.

It may be stopped at any point and run again, and two may run at once: rows are locked while they are worked on, the
other passes over them, and deleting twice does no harm. An object that could not be deleted keeps its row, so the
next run tries again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

from livedub.errors import LivedubError
from livedub.media_cache.catalogue_port import CataloguedKey, ExpiringCatalogue
from livedub.media_cache.errors import MediaCacheRefusedError
from livedub.media_cache.key import ObjectPath, Variant

logger = logging.getLogger(__name__)

_GIVE_UP_AFTER = 8
"""Failures in a row: then it is not the object but the host, and uploads need not wait for our locks any longer."""
_LOOKUP = 500
"""Keys per question."""


class Deleter(Protocol):
    """The media cache; called from several threads."""

    def delete(self, key: str, variant: Variant) -> bool:
        """Delete an object everywhere; whether there was one. Raises MediaCacheError where that is not sure."""
        ...


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """An object as it lies on the host's disk; `modified_s` is seconds since the epoch."""

    path: ObjectPath
    size_bytes: int
    modified_s: float


@dataclass(frozen=True, slots=True)
class CleanupOptions:
    """How to clean.

    Attributes:
        batch_rows: rows that are locked at once.
        parallel: deletions at once.
        budget_s: when to stop though there is more; the batch at hand is finished.
        dry_run: only say what would be done.
        orphan_age_s: how old an object without a row must be; an upload enters its row first.
        sweep: delete such objects too.
    """

    batch_rows: int = 100
    parallel: int = 8
    budget_s: float = 600.0
    dry_run: bool = False
    orphan_age_s: float = 24 * 3_600.0
    sweep: bool = False


@dataclass(frozen=True, slots=True)
class CleanupReport:
    """What was done, or in a dry run would be.

    Attributes:
        rows_removed: rows deleted, with every object that they listed.
        objects_removed: of those objects, how many were there.
        rows_kept: rows whose objects could not all be deleted.
        orphans: objects without a row.
        orphan_bytes: their size.
        orphans_removed: how many of them were deleted.
        orphans_kept: how many of them should have been, and could not.
        complete: False where it stopped early.
        problem: the last failure, empty without one.
    """

    rows_removed: int = 0
    objects_removed: int = 0
    rows_kept: int = 0
    orphans: int = 0
    orphan_bytes: int = 0
    orphans_removed: int = 0
    orphans_kept: int = 0
    complete: bool = True
    problem: str = ""

    @property
    def failed(self) -> bool:
        """Whether something should have been deleted and is still there."""
        return bool(self.rows_kept or self.orphans_kept or self.problem)


def find_orphans(
    blobs: Iterable[StoredBlob],
    listed: Mapping[str, Iterable[str]],
    *,
    now_s: float,
    orphan_age_s: float,
) -> tuple[StoredBlob, ...]:
    """Those blobs that are old enough and that no row lists; `listed` has the encodings by key."""
    return tuple(
        blob
        for blob in blobs
        if now_s - blob.modified_s >= orphan_age_s
        and blob.path.variant.value not in listed.get(blob.path.hash, ())
    )


class _Stopped(Exception):  # noqa: N818 - no error
    """Going on makes no sense, or there is no time left."""


class Cleanup:
    """One run. Deletes through the cache's own hosts, because only they write to their disks."""

    def __init__(
        self,
        catalogue: ExpiringCatalogue,
        cache: Deleter,
        options: CleanupOptions | None = None,
        *,
        clock_s: Callable[[], float] = time.monotonic,
        wall_clock_s: Callable[[], float] = time.time,
    ) -> None:
        self._catalogue = catalogue
        self._cache = cache
        self._options = options or CleanupOptions()
        self._clock_s = clock_s
        self._wall_clock_s = wall_clock_s
        self._end_s = 0.0
        self._failures = 0
        self._report = CleanupReport()

    def run(self, blobs: Iterable[StoredBlob] = ()) -> CleanupReport:
        """Delete what is over; then look for the rows of `blobs`, where any are given.

        Raises:
            LivedubError: the catalogue does not answer.
        """
        self._end_s = self._clock_s() + self._options.budget_s
        self._failures = 0
        self._report = CleanupReport()
        try:
            with ThreadPoolExecutor(self._options.parallel, thread_name_prefix="cleanup") as threads:
                self._rows(threads)
            for some in _in_groups(blobs, _LOOKUP):
                self._look_for_orphans(some)
        except _Stopped:
            self._report = replace(self._report, complete=False)
        return self._report

    def _rows(self, threads: ThreadPoolExecutor) -> None:
        cutoff = self._catalogue.now()
        last: CataloguedKey | None = None
        while True:
            self._check()
            if self._options.dry_run:
                rows = self._catalogue.expired(cutoff, last, self._options.batch_rows)
                self._count_rows(rows)
            else:
                with self._catalogue.hold_expired(cutoff, last, self._options.batch_rows) as batch:
                    rows = batch.rows
                    removed = dict(zip(rows, threads.map(self._delete_all, rows), strict=True))
                    batch.done.update(row.hash for row, count in removed.items() if count is not None)
                # Only now it is true.
                self._note_rows(removed)
            if not rows:
                return
            last = rows[-1]

    def _count_rows(self, rows: Sequence[CataloguedKey]) -> None:
        self._report = replace(
            self._report,
            rows_removed=self._report.rows_removed + len(rows),
            objects_removed=self._report.objects_removed + sum(len(row.encodings) for row in rows),
        )

    def _note_rows(self, removed: Mapping[CataloguedKey, int | None]) -> None:
        counts = [count for count in removed.values() if count is not None]
        self._report = replace(
            self._report,
            rows_removed=self._report.rows_removed + len(counts),
            objects_removed=self._report.objects_removed + sum(counts),
            rows_kept=self._report.rows_kept + len(removed) - len(counts),
        )

    def _delete_all(self, row: CataloguedKey) -> int | None:
        """Delete a row's objects: how many were there, None where one may be left."""
        existed = 0
        for encoding in row.encodings:
            done = self._delete(row.hash, encoding)
            if done is None:
                return None
            existed += done
        return existed

    def _delete(self, key: str, encoding: str) -> bool | None:
        if self._failures >= _GIVE_UP_AFTER:
            return None
        try:
            existed = self._cache.delete(key, Variant(encoding))
        except MediaCacheRefusedError as error:
            # A token that is wrong for one is wrong for all.
            return self._failed(error, _GIVE_UP_AFTER)
        except (LivedubError, ValueError) as error:
            return self._failed(error, 1)
        self._failures = 0
        return existed

    def _failed(self, error: Exception, weight: int) -> None:
        # Threads may count one too few; a few deletions more or less is what it costs.
        self._failures += weight
        self._report = replace(self._report, problem=str(error))
        logger.warning("not deleted: %s", error)

    def _look_for_orphans(self, blobs: Sequence[StoredBlob]) -> None:
        self._check()
        listed = self._catalogue.listed(sorted({blob.path.hash for blob in blobs}))
        orphans = find_orphans(
            blobs, listed, now_s=self._wall_clock_s(), orphan_age_s=self._options.orphan_age_s
        )
        self._report = replace(
            self._report,
            orphans=self._report.orphans + len(orphans),
            orphan_bytes=self._report.orphan_bytes + sum(blob.size_bytes for blob in orphans),
        )
        if self._options.sweep and not self._options.dry_run:
            for orphan in orphans:
                self._sweep(orphan)

    def _sweep(self, orphan: StoredBlob) -> None:
        self._check()
        variant = orphan.path.variant.value
        with self._catalogue.reserve(orphan.path.hash) as listed:
            if listed is None or variant in listed:
                return  # somebody is at it, or has entered it since
            existed = self._delete(orphan.path.hash, variant)
        self._report = replace(
            self._report,
            orphans_removed=self._report.orphans_removed + (existed is not None),
            orphans_kept=self._report.orphans_kept + (existed is None),
        )

    def _check(self) -> None:
        if self._failures >= _GIVE_UP_AFTER or self._clock_s() >= self._end_s:
            raise _Stopped


def _in_groups(blobs: Iterable[StoredBlob], size: int) -> Iterable[list[StoredBlob]]:
    group: list[StoredBlob] = []
    for blob in blobs:
        group.append(blob)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
