"""What the deployed media cache has in its catalogue."""

from __future__ import annotations

import psycopg

from livedub.errors import LivedubError

_CONNECT_S = 30


class CatalogueError(LivedubError):
    """The catalogue cannot be read."""


def count_stored(database_url: str) -> int:
    """How many sentences are stored.

    Raises:
        CatalogueError: the database does not answer, or has no such table.
    """
    try:
        with psycopg.connect(database_url, connect_timeout=_CONNECT_S) as connection:
            found = connection.execute("SELECT count(*) FROM tts_media_cache").fetchone()
    except psycopg.Error as error:
        raise CatalogueError(f"the catalogue cannot be read: {error}") from error
    return int(found[0]) if found else 0
