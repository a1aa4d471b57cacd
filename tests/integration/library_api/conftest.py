from collections.abc import Iterator
from itertools import count

import boto3
import psycopg
import pytest
from moto import mock_aws

from livedub.library.api import wiring
from tests.integration.library_api.rig import BUCKET_IN, BUCKET_OUT, ENVIRONMENT, LibraryRig

_numbers = count()
_TABLES = b"media_jobs, media_job_events, media_assets, media_presets, media_callback_nonces"


@pytest.fixture(scope="module")
def catalogue_url(postgres_url: str) -> Iterator[str]:
    """One database for a module's tests; a new one for each would cost most of their time."""
    name = f"library_api_{next(_numbers)}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield postgres_url.replace("/postgres?", f"/{name}?")
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(scope="module")
def shared_library(catalogue_url: str) -> Iterator[LibraryRig]:
    with pytest.MonkeyPatch.context() as environment, mock_aws():
        for name, value in {**ENVIRONMENT, "DATABASE_URL": catalogue_url}.items():
            environment.setenv(name, value)
        for name in ("S3_ENDPOINT_URL", "S3_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
            environment.delenv(name, raising=False)
        s3 = boto3.client("s3", region_name="us-east-1")
        yield LibraryRig(s3)
        wiring.forget()


@pytest.fixture
def library(shared_library: LibraryRig, catalogue_url: str) -> LibraryRig:
    """An empty library."""
    shared_library.watch_queue()
    with psycopg.connect(catalogue_url, autocommit=True) as connection:
        connection.execute(b"TRUNCATE " + _TABLES)
    for bucket in (BUCKET_IN, BUCKET_OUT):
        shared_library.empty(bucket)
    return shared_library
