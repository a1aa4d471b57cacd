"""Numbered SQL files, applied in order, each once: `migrations/0001_name.sql`.

All that is missing is applied in one transaction under an advisory lock, so of several processes that start at once
one does it. An applied file must never change: its checksum is kept. A database that is ahead of the files at hand is
left alone: during a roll-out old and new code run side by side. SQL keeps to what Postgres 15 knows.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from livedub.database.errors import MigrationError

logger = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).with_name("migrations")

_FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_LOCK = int.from_bytes(b"livedub", "big")
"""Advisory locks are shared by all that use the database."""

_EXISTS = b"SELECT to_regclass('livedub_migrations') IS NOT NULL"
_CREATE = b"""
CREATE TABLE IF NOT EXISTS livedub_migrations (
    number integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
_APPLIED = b"SELECT number, checksum FROM livedub_migrations"
_NOTE = b"INSERT INTO livedub_migrations (number, name, checksum) VALUES (%s, %s, %s)"
_PATIENCE = b"SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = '60s'"


class _Rows(Protocol):
    def fetchone(self) -> Any: ...

    def fetchall(self) -> Sequence[Any]: ...


class MigrationConnection(Protocol):
    """As much of a psycopg connection as is needed here."""

    def execute(self, query: bytes, params: Sequence[Any] | None = None, /) -> _Rows:
        """Run a statement, or several where there are no parameters."""
        ...

    def transaction(self) -> AbstractContextManager[Any]:
        """All or nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Migration:
    """One file; `checksum` is the SHA-256 of its text, in hexadecimal."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """What tells whether the file has changed since."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def load_migrations(folder: Path = MIGRATIONS) -> tuple[Migration, ...]:
    """The files of a folder, in order.

    Raises:
        MigrationError: a name is not NNNN_name.sql, or the numbers are not 1, 2, 3 and so on.
    """
    found: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"{path.name} is no migration.", remedy="Name it NNNN_what_it_does.sql.")
        found.append(Migration(int(match[1]), match[2], path.read_text(encoding="utf-8")))
    numbers = [migration.number for migration in found]
    if numbers != list(range(1, len(found) + 1)):
        raise MigrationError(
            f"the migrations in {folder} have the numbers {numbers}.",
            remedy="Number them from 0001 on, without gaps and each once.",
        )
    return tuple(found)


def pending(migrations: Sequence[Migration], applied: Mapping[int, str]) -> tuple[Migration, ...]:
    """Those not applied yet; `applied` has a checksum by number.

    Raises:
        MigrationError: an applied one has changed since, or one before the last applied was left out.
    """
    missing: list[Migration] = []
    for migration in migrations:
        checksum = applied.get(migration.number)
        if checksum is None:
            missing.append(migration)
        elif checksum != migration.checksum:
            raise MigrationError(
                f"migration {migration.number:04d}_{migration.name} is not what was applied to the database.",
                remedy="Put the file back as it was, and write what is new as a further migration.",
            )
    if missing and missing[0].number < max(applied, default=0):
        raise MigrationError(
            f"the database lacks migration {missing[0].number:04d} but has {max(applied):04d}.",
            remedy="Restore the table livedub_migrations, or the database, from a backup.",
        )
    return tuple(missing)


def migrate(connection: MigrationConnection, migrations: Sequence[Migration]) -> tuple[Migration, ...]:
    """Apply what is missing and return it. Where nothing is, reading rights on `livedub_migrations` are enough.

    Raises:
        MigrationError: see `pending`.
    """
    if connection.execute(_EXISTS).fetchone()[0] and not pending(migrations, _applied(connection)):
        return ()
    with connection.transaction():
        connection.execute(_PATIENCE)
        connection.execute(b"SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute(_CREATE)
        missing = pending(migrations, _applied(connection))
        for migration in missing:
            connection.execute(migration.sql.encode())
            connection.execute(_NOTE, (migration.number, migration.name, migration.checksum))
    for migration in missing:
        logger.info("applied migration %04d_%s", migration.number, migration.name)
    return missing


def _applied(connection: MigrationConnection) -> dict[int, str]:
    return dict(connection.execute(_APPLIED).fetchall())
