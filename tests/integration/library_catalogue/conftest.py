"""One database for the tests of a module; each test finds its tables empty."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import psycopg
import pytest

from livedub.library.catalogue import Catalogue, connect_catalogue

_numbers = count()

Ask = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def catalogue_url(postgres_url: str) -> Iterator[str]:
    name = f"catalogue_{next(_numbers)}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        url = postgres_url.replace("/postgres?", f"/{name}?")
        connect = connect_catalogue(url)
        connect.database.migrate(wait_ms=30_000)
        connect.close()
        yield url
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def sql(catalogue_url: str) -> Iterator[Ask]:
    with psycopg.connect(catalogue_url, autocommit=True) as connection:

        def ask(query: str, *parameters: Any) -> list[tuple[Any, ...]]:
            cursor = connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

        ask("TRUNCATE media_jobs, media_job_events, media_assets, media_presets")
        yield ask


@pytest.fixture
def catalogue(catalogue_url: str, sql: Ask) -> Iterator[Catalogue]:
    opened = connect_catalogue(catalogue_url)
    yield opened
    opened.close()
