"""A pool of Postgres connections for threads; with what is beside it, the only place that knows psycopg.

Waiting is bounded everywhere: for a connection, for a lock, for a statement, and for a transaction whose owner has
stopped. The schema is brought up to date by the first connection that is used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from livedub.database.errors import DatabaseBusyError, DatabaseError, DatabaseUnavailableError
from livedub.database.migrate import load_migrations, migrate
from livedub.errors import ConfigurationError

logger = logging.getLogger(__name__)
# The pool tells of every failed attempt to connect, one a second; what follows from it is raised to whoever asked.
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)

T = TypeVar("T")

_RECONNECT_S = 3.0
"""The pool doubles its pauses between attempts until this is over; the next request begins anew."""
_CLOSE_S = 5.0
_UNAVAILABLE = (
    PoolTimeout,
    PoolClosed,
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.IdleInTransactionSessionTimeout,
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in milliseconds, and for what.

    Attributes:
        connection_ms: for a connection, new or from the pool.
        lock_ms: for a lock that somebody else holds.
        statement_ms: for one statement, waiting for locks included.
        idle_transaction_ms: until the server ends a transaction whose client does nothing, and frees its locks.
    """

    connection_ms: int = 500
    lock_ms: int = 1_000
    statement_ms: int = 1_400
    idle_transaction_ms: int = 60_000


class Database:
    """Connections in autocommit mode, opened when needed and kept. Methods may be called from any thread.

    Args:
        url: `postgresql://user:password@host/database`, or libpq's key=value form.
        name: shown as application_name in pg_stat_activity.
        max_connections: at once; whoever comes later waits.
        patience: bounds of every wait.
        durable: False lets the server acknowledge before the disk has it: a crash of the server may take the last
            moments back, never damage anything. For what can be made again.

    Raises:
        ConfigurationError: the URL cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        max_connections: int = 8,
        patience: Patience | None = None,
        durable: bool = True,
    ) -> None:
        self._patience = patience or Patience()
        self._durable = durable
        self._migrations = load_migrations()
        self._migrated = False
        # libpq connects no faster than by 2 s; a peer that vanished is given up as soon.
        parameters: dict[str, Any] = {"connect_timeout": 2, "tcp_user_timeout": 2_000, **_parameters(url)}
        self._pool: ConnectionPool[Connection[tuple[Any, ...]]] = ConnectionPool(
            kwargs={"autocommit": True, "application_name": name, **parameters},
            min_size=0,
            max_size=max_connections,
            timeout=self._patience.connection_ms / 1_000,
            reconnect_timeout=_RECONNECT_S,
            num_workers=1,
            name=name,
            configure=self._configure,
            open=True,
        )

    def run(self, work: Callable[[Connection[tuple[Any, ...]]], T]) -> T:
        """Do work that may be done twice: where a kept connection has broken meanwhile, it is done again on another.

        Raises:
            DatabaseUnavailableError: there is no connection, or the second broke too.
            DatabaseBusyError: a lock or statement took longer than we wait.
            DatabaseError: the database refused.
            MigrationError: its schema is not ours.
        """
        with _told():
            try:
                return self._once(work)
            except psycopg.OperationalError as error:
                if error.sqlstate is not None and not error.sqlstate.startswith(("57P", "08")):
                    raise
                self._pool.check()
            return self._once(work)

    @contextmanager
    def transaction(self) -> Generator[Connection[tuple[Any, ...]]]:
        """A transaction that is committed at the end of the block, and rolled back where an error leaves it.

        Raises:
            DatabaseError: as `run`, but nothing is done twice.
        """
        with _told():
            self.run(lambda connection: connection.execute("SELECT 1"))
            with self._pool.connection() as connection, connection.transaction():
                yield connection

    def migrate(self, *, wait_ms: int = 5_000) -> None:
        """Bring the schema up to date now.

        Raises:
            DatabaseError: as `run`.
            MigrationError: as `run`.
        """
        with _told(), self._pool.connection(wait_ms / 1_000) as connection:
            self._prepare(connection)

    def close(self) -> None:
        """Close every connection; safe to call twice."""
        self._pool.close(_CLOSE_S)

    def _once(self, work: Callable[[Connection[tuple[Any, ...]]], T]) -> T:
        with self._pool.connection() as connection:
            self._prepare(connection)
            return work(connection)

    def _prepare(self, connection: Connection[tuple[Any, ...]]) -> None:
        if not self._migrated:
            migrate(connection, self._migrations)
            self._migrated = True

    def _configure(self, connection: Connection[tuple[Any, ...]]) -> None:
        settings = {
            "lock_timeout": f"{self._patience.lock_ms}ms",
            "statement_timeout": f"{self._patience.statement_ms}ms",
            "idle_in_transaction_session_timeout": f"{self._patience.idle_transaction_ms}ms",
            "synchronous_commit": "on" if self._durable else "off",
        }
        for name, value in settings.items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, value))


def _parameters(url: str) -> dict[str, Any]:
    try:
        return dict(conninfo_to_dict(url))
    except psycopg.ProgrammingError:
        # libpq's message repeats the URL, and the URL holds a password.
        raise ConfigurationError(
            "DATABASE_URL is no address of a Postgres database.",
            remedy="Give postgresql://USER:PASSWORD@HOST:PORT/DATABASE.",
        ) from None


@contextmanager
def _told() -> Generator[None]:
    """Turn psycopg's errors into ours."""
    try:
        yield
    except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled) as error:
        raise DatabaseBusyError(
            f"the database did not answer in time: {_first_line(error)}.", remedy="Try again."
        ) from error
    except _UNAVAILABLE as error:
        raise DatabaseUnavailableError(
            f"the database cannot be reached: {_first_line(error)}.",
            remedy="Check DATABASE_URL, and whether the server runs and lets us in.",
        ) from error
    except psycopg.Error as error:
        raise DatabaseError(
            f"the database refused: {_first_line(error)}.", remedy="Check the rights of its user."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
