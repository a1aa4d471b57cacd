from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from livedub.library.api import wiring
from tests.integration.library_api.rig import ENVIRONMENT, LibraryRig, ListedQueue


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[LibraryRig]:
    for name, value in {**ENVIRONMENT, "DATABASE_URL": database_url}.items():
        monkeypatch.setenv(name, value)
    for name in ("S3_ENDPOINT_URL", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    wiring.forget()
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        for bucket in ("media-in", "media-out"):
            s3.create_bucket(Bucket=bucket)
        parts, queue = wiring._parts(), ListedQueue()
        parts.__dict__["_queue"] = queue
        yield LibraryRig(parts, queue, s3)
        wiring.forget()
