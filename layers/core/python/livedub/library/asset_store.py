"""Assets in Postgres, table `media_assets`.

Scans and uploads write at once. All rows of a statement are locked in the order of their keys, so no two statements
wait for each other in a circle; and a scan leaves rows alone that changed after its listing began, because the listing
may be the older of the two.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from livedub.library.assets import KnownObject, NoSuchAssetError, Registered
from livedub.library.library_database_store import LibraryDatabase, narrowed
from livedub.library.object_keys import ObjectInfo
from livedub.library.paging import cursor_of, end_of_prefix, like, position_of
from livedub.library.types import (
    Asset,
    AssetPage,
    AssetStatus,
    BucketRole,
    MediaError,
    MediaInfo,
    PageRequest,
    StreamKind,
)

_COLUMNS = (
    "id",
    "bucket",
    "key",
    "size_bytes",
    "etag",
    "modified_at",
    "status",
    "container",
    "duration_ms",
    "streams",
    "error",
    "created_at",
    "updated_at",
)
_ASSET = SQL(", ").join(map(Identifier, _COLUMNS))
_GET = SQL("SELECT {asset} FROM media_assets WHERE id = %(id)s").format(asset=_ASSET)
_FIND = SQL("SELECT {asset} FROM media_assets WHERE bucket = %(bucket)s AND key = %(key)s").format(
    asset=_ASSET
)

_LIST = SQL("SELECT {asset} FROM media_assets {where} ORDER BY bucket, key LIMIT %(limit)s")
_NARROWED = {
    "bucket": SQL("bucket = %(bucket)s"),
    "after_key": SQL("(bucket, key) > (%(after_bucket)s, %(after_key)s)"),
    "status": SQL("status = %(status)s"),
    "streams": SQL("streams @> %(streams)s::jsonb"),
    "search": SQL("key ILIKE %(search)s"),
    "prefix": SQL("key >= %(prefix)s"),
    "prefix_end": SQL("key < %(prefix_end)s"),
}

_KNOWN = """
SELECT key, etag, status = 'GONE' FROM media_assets
WHERE bucket = %(bucket)s AND key > %(after)s
  AND key >= %(prefix)s AND (%(prefix_end)s::text IS NULL OR key < %(prefix_end)s)
ORDER BY key LIMIT %(limit)s
"""

_UNREAD = SQL("""
SELECT {asset} FROM media_assets
WHERE bucket = %(bucket)s AND status = 'REGISTERED' AND key > %(after)s
  AND key >= %(prefix)s AND (%(prefix_end)s::text IS NULL OR key < %(prefix_end)s)
ORDER BY key LIMIT %(limit)s
""").format(asset=_ASSET)

_ENTER = """
INSERT INTO media_assets AS known (bucket, key, size_bytes, etag, modified_at)
SELECT %(bucket)s, key, size_bytes, etag, modified_at
FROM unnest(%(keys)s::text[], %(sizes)s::bigint[], %(etags)s::text[], %(modified)s::timestamptz[])
     AS listed (key, size_bytes, etag, modified_at)
ORDER BY key COLLATE "C"
ON CONFLICT (bucket, key) DO UPDATE SET
    size_bytes = excluded.size_bytes, etag = excluded.etag, modified_at = excluded.modified_at,
    status = 'REGISTERED', container = '', duration_ms = NULL, streams = '[]', error = NULL,
    listed_at = clock_timestamp(), updated_at = now()
WHERE (known.status = 'GONE' OR known.etag <> excluded.etag)
  AND (%(listed_since)s::timestamptz IS NULL OR known.listed_at < %(listed_since)s)
RETURNING key
"""

_PRESENT = """
SELECT key FROM media_assets WHERE bucket = %(bucket)s AND key = ANY(%(keys)s) AND status <> 'GONE'
"""

_GONE = """
WITH held AS (
    SELECT key FROM media_assets
    WHERE bucket = %(bucket)s AND key = ANY(%(keys)s) AND status <> 'GONE' AND listed_at < %(listed_since)s
    ORDER BY key FOR UPDATE
)
UPDATE media_assets AS known SET
    status = 'GONE', error = NULL, listed_at = clock_timestamp(), updated_at = now()
FROM held WHERE known.bucket = %(bucket)s AND known.key = held.key
RETURNING true
"""

_READ = """
WITH found AS (
    SELECT * FROM unnest(
        %(ids)s::uuid[], %(etags)s::text[], %(containers)s::text[], %(durations)s::bigint[], %(streams)s::jsonb[],
        %(errors)s::jsonb[]
    ) AS found (id, etag, container, duration_ms, streams, error)
), held AS (
    SELECT key, known.bucket, found.* FROM media_assets AS known JOIN found ON known.id = found.id
    WHERE known.etag = found.etag AND known.status <> 'GONE' ORDER BY bucket, key FOR UPDATE OF known
)
UPDATE media_assets AS known SET
    status = CASE WHEN held.error IS NULL THEN 'READY' ELSE 'UNREADABLE' END,
    container = held.container, duration_ms = held.duration_ms, streams = held.streams, error = held.error,
    updated_at = now()
FROM held WHERE known.bucket = held.bucket AND known.key = held.key
RETURNING known.id
"""


class PostgresAssets:
    """Implements `AssetStore` and `ScannedAssets`. The rows' clock is the database's."""

    def __init__(self, database: LibraryDatabase) -> None:
        self._database = database

    def get(self, asset_id: UUID) -> Asset:
        """One asset.

        Raises:
            LibraryError: NO_SUCH_ASSET; CATALOGUE_DOWN.
        """
        row = self._database.row(_GET, {"id": asset_id})
        if row is None:
            raise NoSuchAssetError(str(asset_id))
        return _asset(row)

    def find(self, bucket: BucketRole, key: str) -> Asset | None:
        """The asset of a key, if it is known.

        Raises:
            LibraryError: CATALOGUE_DOWN.
        """
        row = self._database.row(
            _FIND,
            {"bucket": bucket.value, "key": key},
        )
        return None if row is None else _asset(row)

    def list(
        self,
        page: PageRequest | None = None,
        *,
        bucket: BucketRole | None = None,
        status: AssetStatus | None = None,
        kind: StreamKind | None = None,
        prefix: str | None = None,
        search: str | None = None,
    ) -> AssetPage:
        """Assets by bucket and key.

        Args:
            page: which part.
            bucket: only those of this bucket.
            status: only those of this status.
            kind: only those with such a stream.
            prefix: only those whose key begins like this.
            search: only those whose key holds this, in whichever case.

        Raises:
            LibraryError: INVALID_REQUEST (the cursor); CATALOGUE_DOWN.
        """
        page = page or PageRequest()
        after_bucket, after_key = position_of(page.cursor, 2) if page.cursor is not None else (None, None)
        parameters = {
            "bucket": bucket and bucket.value,
            "after_bucket": after_bucket,
            "after_key": after_key,
            "status": status and status.value,
            "streams": kind and Jsonb([{"kind": kind.value}]),
            "search": like(search) if search else None,
            "prefix": prefix or None,
            "prefix_end": end_of_prefix(prefix or ""),
        }
        query = _LIST.format(asset=_ASSET, where=narrowed(_NARROWED, parameters))
        rows = self._database.rows(query, {**parameters, "limit": page.limit + 1})
        items = tuple(_asset(row) for row in rows[: page.limit])
        following = len(rows) > page.limit
        cursor = cursor_of(items[-1].bucket.value, items[-1].key) if following else None
        return AssetPage(items=items, next_cursor=cursor)

    def counts(self) -> dict[AssetStatus, int]:
        """How many assets have which status.

        Raises:
            LibraryError: CATALOGUE_DOWN.
        """
        found = self._database.rows("SELECT status, count(*) FROM media_assets GROUP BY status", {})
        return dict.fromkeys(AssetStatus, 0) | {AssetStatus(status): count for status, count in found}

    def register(self, bucket: BucketRole, objects: Sequence[ObjectInfo]) -> Registered:
        """Enter objects just stored; what the catalogue knows already stays as it is.

        Raises:
            LibraryError: CATALOGUE_DOWN.
        """
        parameters = {"bucket": bucket.value, "keys": [one.key for one in objects]}
        present = frozenset(key for (key,) in self._database.rows(_PRESENT, parameters))
        written = frozenset(self._enter(bucket, objects, None))
        return Registered(new=written - present, changed=written & present)

    def read(self, asset: Asset, found: MediaInfo | MediaError) -> bool:
        """Enter what reading an asset's content told; False where the content is another by now.

        Raises:
            LibraryError: CATALOGUE_DOWN.
        """
        return asset.id in self.read_many([(asset, found)])

    def read_many(self, found: Sequence[tuple[Asset, MediaInfo | MediaError]]) -> frozenset[UUID]:
        """As `read`, of several at once; gives the ids of those whose content is still that.

        Raises:
            LibraryError: CATALOGUE_DOWN.
        """
        infos = [what if isinstance(what, MediaInfo) else MediaInfo(container="") for _, what in found]
        errors = [_packed(what) if isinstance(what, MediaError) else None for _, what in found]
        parameters = {
            "ids": [asset.id for asset, _ in found],
            "etags": [asset.etag for asset, _ in found],
            "containers": [info.container for info in infos],
            "durations": [info.duration_ms for info in infos],
            "streams": [Jsonb([stream.model_dump(mode="json") for stream in info.streams]) for info in infos],
            "errors": errors,
        }
        return frozenset(asset_id for (asset_id,) in self._database.rows(_READ, parameters))

    def unread(
        self, bucket: BucketRole, *, prefix: str = "", after: str = "", limit: int = 100
    ) -> tuple[Asset, ...]:
        """Assets whose content nobody has read, in order of their keys' bytes.

        Raises:
            LibraryError: CATALOGUE_DOWN.
        """
        rows = self._database.rows(_UNREAD, _range(bucket, prefix, after, limit))
        return tuple(_asset(row) for row in rows)

    def moment(self) -> datetime:
        """The clock that rows are kept by.

        Raises:
            LibraryError: CATALOGUE_DOWN.
        """
        return self._database.rows("SELECT clock_timestamp()", {})[0][0]

    def known(self, bucket: BucketRole, prefix: str, after: str, limit: int) -> Sequence[KnownObject]:
        """Rows whose key begins with `prefix` and lies behind `after`, in order of their keys' bytes.

        Raises:
            LibraryError: CATALOGUE_DOWN.
        """
        rows = self._database.rows(_KNOWN, _range(bucket, prefix, after, limit))
        return [KnownObject._make(row) for row in rows]

    def enter(
        self, bucket: BucketRole, objects: Sequence[ObjectInfo], *, listed_since: datetime
    ) -> Collection[str]:
        """Enter objects that are new, back or changed; gives the keys whose rows were made or changed.

        Raises:
            LibraryError: CATALOGUE_DOWN.
        """
        return self._enter(bucket, objects, listed_since)

    def mark_gone(self, bucket: BucketRole, keys: Sequence[str], *, listed_since: datetime) -> int:
        """Say of keys that they are gone; gives how many rows were changed.

        Raises:
            LibraryError: CATALOGUE_DOWN.
        """
        parameters = {"bucket": bucket.value, "keys": list(keys), "listed_since": listed_since}
        return len(self._database.rows(_GONE, parameters))

    def _enter(
        self, bucket: BucketRole, objects: Sequence[ObjectInfo], listed_since: datetime | None
    ) -> Collection[str]:
        parameters = {
            "bucket": bucket.value,
            "keys": [one.key for one in objects],
            "sizes": [one.size_bytes for one in objects],
            "etags": [one.etag for one in objects],
            "modified": [one.modified_at for one in objects],
            "listed_since": listed_since,
        }
        return [key for (key,) in self._database.rows(_ENTER, parameters)]


def _packed(error: MediaError) -> Jsonb:
    return Jsonb(error.model_dump(mode="json"))


def _asset(row: tuple[Any, ...]) -> Asset:
    return Asset.model_validate(dict(zip(_COLUMNS, row, strict=True)))


def _range(bucket: BucketRole, prefix: str, after: str, limit: int) -> dict[str, Any]:
    return {
        "bucket": bucket.value,
        "prefix": prefix,
        "prefix_end": end_of_prefix(prefix),
        "after": after,
        "limit": limit,
    }
