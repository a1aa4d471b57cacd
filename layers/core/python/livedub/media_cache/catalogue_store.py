"""The catalogue in Postgres, table `tts_media_cache`.

Three parties write at once: uploads (`record`), deletions (`forget`) and clean-ups. A clean-up holds the locks of its
rows while it has their objects deleted over HTTP. An upload of such a key waits for it, for a second at most, and is
refused then; the deletion that the clean-up itself causes must not wait, so `forget` passes over locked rows.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from psycopg import Connection

from livedub.database.errors import DatabaseError
from livedub.database.postgres_store import Database
from livedub.media_cache.catalogue_port import CacheEntry, CataloguedKey, ExpiredBatch
from livedub.media_cache.key import Variant

logger = logging.getLogger(__name__)

_MAX_CONNECTIONS = 10
"""For two statements of many uploads, the repeats of one that failed row by row, and deletions."""

_RECORD = """
INSERT INTO tts_media_cache AS known (hash, sentence, voice, model, speed, variants, ttl)
SELECT hash, sentence, voice, model, speed_percent / 100.0, jsonb_build_array(variant),
       now() + make_interval(secs => ttl_s)
FROM jsonb_to_recordset(%s::jsonb) AS given
    (hash text, sentence text, voice text, model text, speed_percent int, variant jsonb, ttl_s int)
ORDER BY hash
ON CONFLICT (hash) DO UPDATE SET
    variants = excluded.variants || coalesce(
        (SELECT jsonb_agg(variant ORDER BY place)
         FROM jsonb_array_elements(known.variants) WITH ORDINALITY AS listed (variant, place)
         WHERE variant ->> 'encoding' IS DISTINCT FROM excluded.variants -> 0 ->> 'encoding'),
        '[]'),
    ttl = CASE WHEN known.ttl IS NOT NULL AND excluded.ttl IS NOT NULL THEN greatest(known.ttl, excluded.ttl) END,
    updated_at = now()
"""

_FORGET = """
WITH held AS (
    SELECT hash, coalesce(
        (SELECT jsonb_agg(variant ORDER BY place)
         FROM jsonb_array_elements(variants) WITH ORDINALITY AS listed (variant, place)
         WHERE variant ->> 'encoding' IS DISTINCT FROM %(encoding)s),
        '[]') AS remaining
    FROM tts_media_cache WHERE hash = %(hash)s FOR UPDATE SKIP LOCKED
), deleted AS (
    DELETE FROM tts_media_cache AS known USING held WHERE known.hash = held.hash AND held.remaining = '[]'
)
UPDATE tts_media_cache AS known SET variants = held.remaining, updated_at = now()
FROM held WHERE known.hash = held.hash AND held.remaining <> '[]' AND held.remaining <> known.variants
"""

_EXPIRED = """
SELECT hash, ARRAY(SELECT variant ->> 'encoding' FROM jsonb_array_elements(variants) AS listed (variant)), ttl
FROM tts_media_cache
WHERE ttl < %(cutoff)s AND (%(after_ttl)s::timestamptz IS NULL OR (ttl, hash) > (%(after_ttl)s, %(after_hash)s))
ORDER BY ttl, hash LIMIT %(limit)s
"""

_LISTED = """
SELECT hash, ARRAY(SELECT variant ->> 'encoding' FROM jsonb_array_elements(variants) AS listed (variant))
FROM tts_media_cache WHERE hash = ANY(%s)
"""

_RESERVE = """
INSERT INTO tts_media_cache (hash, sentence, voice, model, variants) VALUES (%s, '', '', '', '[]')
ON CONFLICT (hash) DO NOTHING RETURNING true
"""


class PostgresCatalogue:
    """Implements `Catalogue` and what the clean-up needs besides. The row's clock is the database's.

    Of several uploads of a key the longest keeping time counts, and "for ever" is the longest.
    """

    def __init__(self, database: Database) -> None:
        """Close it to close `database`."""
        self._database = database

    def record(self, entries: Sequence[CacheEntry]) -> None:
        """Enter variants of different keys, each beside others of its key, the newest first; all of them or none.

        Rows are taken in the order of their keys, so that two of these never wait for each other in a circle.

        Raises:
            DatabaseError: it could not be written within 2 s.
        """
        rows = [
            {
                "hash": entry.hash,
                "sentence": entry.sentence,
                "voice": entry.voice,
                "model": entry.model,
                "speed_percent": entry.speed_percent,
                "variant": entry.variant.model_dump(mode="json"),
                "ttl_s": entry.ttl_s,
            }
            for entry in entries
        ]
        text = json.dumps(rows)
        self._database.run(lambda connection: connection.execute(_RECORD, (text,)))

    def forget(self, key: str, encoding: Variant) -> None:
        """Take a variant out, and the row with its last one; leaves a row alone that somebody else holds locked.

        Raises:
            DatabaseError: it could not be written.
        """
        parameters = {"hash": key, "encoding": encoding.value}
        self._database.run(lambda connection: connection.execute(_FORGET, parameters))

    def ready(self) -> bool:
        """Whether a row could be written now."""
        try:
            return self._database.run(_is_writable)
        except DatabaseError as error:
            logger.warning("the catalogue is not ready: %s", error)
            return False

    def now(self) -> datetime:
        """The database's clock.

        Raises:
            DatabaseError: there is no answer.
        """
        return self._database.run(lambda connection: _row(connection, "SELECT now()")[0])

    def expired(self, cutoff: datetime, after: CataloguedKey | None, limit: int) -> tuple[CataloguedKey, ...]:
        """Rows whose time was over at `cutoff`, the oldest first, from the one behind `after` on. Locks nothing.

        Raises:
            DatabaseError: there is no answer.
        """
        parameters = _page(cutoff, after, limit)
        return self._database.run(lambda connection: _keys(connection, _EXPIRED, parameters))

    @contextmanager
    def hold_expired(
        self, cutoff: datetime, after: CataloguedKey | None, limit: int
    ) -> Generator[ExpiredBatch]:
        """As `expired`, but locked for the block, without those locked already.

        What is put into the batch's `done` is deleted at the end of the block; after an error nothing is.

        Raises:
            DatabaseError: the database failed, and nothing was deleted.
        """
        with self._database.transaction() as connection:
            batch = ExpiredBatch(
                _keys(connection, _EXPIRED + "FOR UPDATE SKIP LOCKED", _page(cutoff, after, limit))
            )
            yield batch
            connection.execute("DELETE FROM tts_media_cache WHERE hash = ANY(%s)", (list(batch.done),))

    def listed(self, keys: Sequence[str]) -> Mapping[str, frozenset[str]]:
        """The encodings that the rows of these keys list; a key without a row is left out.

        Raises:
            DatabaseError: there is no answer.
        """
        return self._database.run(
            lambda connection: {
                row[0]: frozenset(row[1]) for row in connection.execute(_LISTED, (list(keys),))
            }
        )

    @contextmanager
    def reserve(self, key: str) -> Generator[frozenset[str] | None]:
        """Keep uploads of a key waiting for the block; gives the encodings listed for it, None where it is locked.

        Where there is no row, one is inserted and taken back at the end of the block: an upload waits for it as for
        any other.

        Raises:
            DatabaseError: the database failed.
        """
        with self._database.transaction() as connection:
            if connection.execute(_RESERVE, (key,)).fetchone() is not None:
                yield frozenset()
                connection.execute("DELETE FROM tts_media_cache WHERE hash = %s", (key,))
                return
            row = connection.execute(_LISTED + "FOR UPDATE SKIP LOCKED", ([key],)).fetchone()
            yield None if row is None else frozenset(row[1])

    def close(self) -> None:
        """Let go of connections."""
        self._database.close()


def connect_catalogue(
    database_url: str, *, name: str = "livedub-media-cache", wait_ms: int = 3_000
) -> PostgresCatalogue:
    """The catalogue in a database, whose schema is brought up to date now or, if the database is down, once it is up.

    Args:
        database_url: where it is.
        name: shown in the server's list of activities.
        wait_ms: how long to wait for the database now.

    Raises:
        ConfigurationError: the URL cannot be read, or the schema is not ours.
    """
    database = Database(database_url, name=name, max_connections=_MAX_CONNECTIONS, durable=False)
    try:
        database.migrate(wait_ms=wait_ms)
    except DatabaseError as error:
        logger.warning("the catalogue's database: %s", error)
    except BaseException:
        database.close()
        raise
    return PostgresCatalogue(database)


def _is_writable(connection: Connection[tuple[Any, ...]]) -> bool:
    query = (
        "SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off' "
        "AND has_table_privilege('tts_media_cache', 'INSERT') AND has_table_privilege('tts_media_cache', 'UPDATE')"
    )
    return bool(_row(connection, query.encode())[0])


def _row(connection: Connection[tuple[Any, ...]], query: Any) -> tuple[Any, ...]:
    row = connection.execute(query).fetchone()
    if row is None:
        raise DatabaseError("the database answered a question for one row with none.")
    return row


def _keys(connection: Connection[tuple[Any, ...]], query: Any, parameters: Any) -> tuple[CataloguedKey, ...]:
    return tuple(
        CataloguedKey(key, tuple(encodings), ttl)
        for key, encodings, ttl in connection.execute(query, parameters)
    )


def _page(cutoff: datetime, after: CataloguedKey | None, limit: int) -> dict[str, Any]:
    return {
        "cutoff": cutoff,
        "after_ttl": after.ttl if after else None,
        "after_hash": after.hash if after else None,
        "limit": limit,
    }
