"""Which callbacks were already let through: nonces in Postgres, table `media_callback_nonces`."""

from __future__ import annotations

import secrets

from livedub.library.library_database_store import LibraryDatabase

_KEEP_S = 600
"""Ten times as long as a signature is good."""

_USE = """
INSERT INTO media_callback_nonces (nonce, used_by) VALUES (%(nonce)s, %(mark)s)
ON CONFLICT (nonce) DO UPDATE SET used_by = media_callback_nonces.used_by
RETURNING used_by = %(mark)s
"""
_FORGET = """
DELETE FROM media_callback_nonces WHERE nonce IN (
    SELECT nonce FROM media_callback_nonces
    WHERE used_at < clock_timestamp() - make_interval(secs => %(keep_s)s)
    LIMIT 100 FOR UPDATE SKIP LOCKED
)
RETURNING nonce
"""


class PostgresNonces:
    """Implements `callback_auth.NonceGuard`."""

    def __init__(self, database: LibraryDatabase) -> None:
        self._database = database

    def first_use(self, nonce: str) -> bool:
        """See NonceGuard.

        Raises:
            LibraryError: CATALOGUE_DOWN.
        """
        # A statement whose connection broke is run again: our own mark tells that apart from a replay.
        mark = secrets.token_hex(8)
        row = self._database.row(_USE, {"nonce": nonce, "mark": mark})
        self._database.rows(_FORGET, {"keep_s": _KEEP_S})
        return row is not None and bool(row[0])
