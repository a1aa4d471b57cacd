from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from livedub.library.catalogue import Catalogue, connect_catalogue
from livedub.library.storage import LibraryStorage
from local.object_store import ObjectStore, object_store
from local.redis_server import redis_server
from tests.integration.library_jobs.aws_rig import MediaJobs, host_worker, media_jobs
from tests.integration.library_jobs.rig import Library, mock_service
from tests.integration.local_aws.rig import Aws, running_server

SMALL_BYTES = 100_000
"""Of a source that is done in a function, and the state machine's size rule in these tests."""


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """One for the session; each test has its own keys."""
    with object_store(tmp_path_factory.mktemp("objects")) as running:
        yield running


@pytest.fixture
def broker_url() -> Iterator[str]:
    with redis_server() as url:
        yield url


def _library(store: ObjectStore, database_url: str, folder: Path) -> Iterator[Library]:
    catalogue: Catalogue = connect_catalogue(database_url)
    catalogue.database.migrate(wait_ms=30_000)
    yield Library(store, LibraryStorage(store.settings), catalogue, database_url, folder)
    catalogue.close()


@pytest.fixture
def own_library(store: ObjectStore, database_url: str, tmp_path: Path) -> Iterator[Library]:
    """With a catalogue that no other test's workers look into."""
    yield from _library(store, database_url, tmp_path)


@pytest.fixture(scope="module")
def library(
    store: ObjectStore, postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Library]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE library_jobs")
        url = postgres_url.replace("/postgres?", "/library_jobs?")
        yield from _library(store, url, tmp_path_factory.mktemp("library"))
        connection.execute("DROP DATABASE library_jobs WITH (FORCE)")


@pytest.fixture(scope="module")
def sts_url(library: Library) -> Iterator[str]:
    with mock_service(library.folder) as url:
        yield url


@pytest.fixture(scope="session")
def aws() -> Iterator[Aws]:
    with running_server() as server:
        yield Aws(server.endpoint)


@pytest.fixture(scope="module")
def machine(library: Library, sts_url: str, aws: Aws) -> Iterator[MediaJobs]:
    """The state machine on a local AWS, and two hosts."""
    library.settings.update(
        {
            "STS_SERVICE_URL": sts_url,
            "LIBRARY_DUB_RANGE_S": "10",
            "LIBRARY_DUB_SEPARATES": "false",
            "LIBRARY_FUNCTION_MAX_BYTES": str(SMALL_BYTES),
            "LIBRARY_FAN_OUT_MIN_S": "15",
            # Nobody sweeps here: each job is given once.
            "LIBRARY_PENDING_PATIENCE_S": "3600",
        }
    )
    jobs = media_jobs(library, aws)
    with (
        host_worker(library, jobs, label="host-1"),
        host_worker(library, jobs, label="host-2"),
    ):
        yield jobs
