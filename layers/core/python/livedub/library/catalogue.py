"""The library's catalogue: assets, presets and jobs on one pool of connections.

with open_catalogue(database_url) as catalogue:
    job = catalogue.jobs.create(request)
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from livedub.library.asset_store import PostgresAssets
from livedub.library.job_store import DEFAULT_ATTEMPTS, DEFAULT_LEASE_S, PostgresJobs
from livedub.library.library_database_store import LibraryDatabase
from livedub.library.preset_store import PostgresPresets


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The three tables; methods may be called from any thread, and block."""

    assets: PostgresAssets
    presets: PostgresPresets
    jobs: PostgresJobs
    database: LibraryDatabase

    def close(self) -> None:
        """Let go of connections; safe to call twice."""
        self.database.close()


def connect_catalogue(
    database_url: str,
    *,
    name: str = "livedub-library",
    lease_s: float = DEFAULT_LEASE_S,
    attempts: int = DEFAULT_ATTEMPTS,
    max_connections: int = 8,
) -> Catalogue:
    """The catalogue in a database. Connections are made, and the schema is brought up to date, at the first use.

    Args:
        database_url: `postgresql://user:password@host/database`.
        name: shown in the server's list of activities.
        lease_s: how long a job is kept for an attempt that says nothing.
        attempts: how often one submission of a job may be begun.
        max_connections: at once.

    Raises:
        ConfigurationError: the URL cannot be read.
    """
    database = LibraryDatabase.connect(database_url, name=name, max_connections=max_connections)
    presets = PostgresPresets(database)
    jobs = PostgresJobs(database, presets, lease_s=lease_s, attempts=attempts)
    return Catalogue(PostgresAssets(database), presets, jobs, database)


@contextmanager
def open_catalogue(database_url: str, *, name: str = "livedub-library") -> Generator[Catalogue]:
    """As `connect_catalogue`, for the length of a block.

    Raises:
        ConfigurationError: the URL cannot be read.
    """
    catalogue = connect_catalogue(database_url, name=name)
    try:
        yield catalogue
    finally:
        catalogue.close()
