from collections.abc import Iterator
from pathlib import Path

import pytest

from livedub.library.catalogue import Catalogue, connect_catalogue
from livedub.library.storage import LibraryStorage
from local.object_store import ObjectStore, object_store
from local.redis_server import redis_server
from tests.integration.library_jobs.rig import Library


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """One for the session; each test has its own keys."""
    with object_store(tmp_path_factory.mktemp("objects")) as running:
        yield running


@pytest.fixture
def broker_url() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture
def catalogue(database_url: str) -> Iterator[Catalogue]:
    opened = connect_catalogue(database_url)
    opened.database.migrate(wait_ms=30_000)
    yield opened
    opened.close()


@pytest.fixture
def library(store: ObjectStore, catalogue: Catalogue, database_url: str, tmp_path: Path) -> Library:
    return Library(store, LibraryStorage(store.settings), catalogue, database_url, tmp_path)
