"""The database of the catalogue, whose outages get the library's code."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from psycopg import Connection
from psycopg.sql import SQL, Composed

from livedub.database.errors import DatabaseBusyError, DatabaseUnavailableError
from livedub.database.postgres_store import Database, Patience
from livedub.library.library_errors import LibraryError, LibraryErrorCode

T = TypeVar("T")

_PATIENCE = Patience(connection_ms=3_000, lock_ms=5_000, statement_ms=15_000)
"""Scans write thousands of rows a statement, and searches read them all."""


class LibraryDatabase:
    """Runs statements. Methods may be called from any thread.

    What is run may be run twice, if a kept connection turns out to be broken: see `Database.run`.
    """

    def __init__(self, database: Database) -> None:
        """Close it to close `database`."""
        self._database = database

    @classmethod
    def connect(cls, url: str, *, name: str = "livedub-library", max_connections: int = 8) -> LibraryDatabase:
        """Connections are made when they are needed.

        Raises:
            ConfigurationError: the URL cannot be read.
        """
        return cls(Database(url, name=name, max_connections=max_connections, patience=_PATIENCE))

    def run(self, work: Callable[[Connection[tuple[Any, ...]]], T]) -> T:
        """Do some work on a connection in autocommit mode.

        Raises:
            LibraryError: CATALOGUE_DOWN, there is no answer now.
            DatabaseError: the database refused.
        """
        with _told():
            return self._database.run(work)

    def rows(self, query: str | Composed, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """What one statement returns.

        Raises:
            LibraryError: as `run`.
            DatabaseError: as `run`.
        """
        return self.run(lambda connection: connection.execute(_query(query), parameters).fetchall())

    def row(self, query: str | Composed, parameters: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """The first row that one statement returns.

        Raises:
            LibraryError: as `run`.
            DatabaseError: as `run`.
        """
        return self.run(lambda connection: connection.execute(_query(query), parameters).fetchone())

    def migrate(self, *, wait_ms: int = 5_000) -> None:
        """Bring the schema up to date now; without a call, the first statement does.

        Raises:
            LibraryError: as `run`.
            MigrationError: the schema is not ours.
        """
        with _told():
            self._database.migrate(wait_ms=wait_ms)

    def close(self) -> None:
        """Let go of connections; safe to call twice."""
        self._database.close()


@contextmanager
def _told() -> Generator[None]:
    try:
        yield
    except (DatabaseUnavailableError, DatabaseBusyError) as error:
        raise LibraryError(
            LibraryErrorCode.CATALOGUE_DOWN, f"The catalogue does not answer: {error.message}", error.remedy
        ) from error


def narrowed(conditions: Mapping[str, SQL], parameters: Mapping[str, Any]) -> Composed:
    """WHERE with those conditions whose parameter is not None: what nobody asked for must not stand in an index's way.

    Args:
        conditions: by the name of the parameter that calls for them.
        parameters: what was asked for.
    """
    wanted = [condition for name, condition in conditions.items() if parameters[name] is not None]
    return SQL("WHERE {}").format(SQL(" AND ").join(wanted or [SQL("true")]))


def _query(query: str | Composed) -> bytes | Composed:
    return query.encode() if isinstance(query, str) else query
