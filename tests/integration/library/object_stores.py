"""S3 servers for the storage suite: moto in this process, SeaweedFS, and MinIO where MINIO_URL names one."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from livedub.library.library_settings import LibrarySettings
from livedub.library.s3_client import build_s3_client
from livedub.library.storage import LibraryStorage
from livedub.library.transfers import MIB
from local.object_store import object_store

PIECE_BYTES = 5 * MIB
"""S3's smallest part."""
SERVERS = [
    "moto",
    pytest.param("seaweedfs", marks=pytest.mark.slow),
    pytest.param("minio", marks=pytest.mark.slow),
]


class Server:
    """A server, and whether it does what a real one does."""

    def __init__(self, kind: str, endpoint_url: str) -> None:
        self.kind = kind
        self.endpoint_url = endpoint_url
        minio = kind == "minio"
        self._user = os.environ.get("MINIO_ROOT_USER", "minioadmin") if minio else "minioadmin"
        self._password = os.environ.get("MINIO_ROOT_PASSWORD", "minioadmin") if minio else "minioadmin"
        self._shared = LibraryStorage(self.settings(), piece_bytes=PIECE_BYTES)
        self._shared.ensure_buckets()

    @property
    def checks_signatures(self) -> bool:
        return self.kind != "moto"

    def settings(self, **changes: str) -> LibrarySettings:
        """Buckets that nobody has, unless `changes` name some."""
        name = uuid.uuid4().hex[:12]
        values = {
            "endpoint_url": self.endpoint_url,
            "bucket_in": f"in-{name}",
            "bucket_out": f"out-{name}",
            "s3_access_key_id": self._user,
            "s3_secret_access_key": self._password,
        }
        return LibrarySettings.model_validate(values | changes)

    def storage(self, **changes: str) -> LibraryStorage:
        """A storage with small pieces, whose buckets are not there yet."""
        return LibraryStorage(self.settings(**changes), piece_bytes=PIECE_BYTES)

    @contextmanager
    def furnished(self) -> Iterator[LibraryStorage]:
        """A storage with small pieces and empty buckets: making new ones for every test costs seconds."""
        storage = self._shared
        try:
            yield storage
        finally:
            client = storage._client
            for bucket in (storage.bucket_in, storage.bucket_out):
                for item in client.list_multipart_uploads(Bucket=bucket).get("Uploads", ()):
                    client.abort_multipart_upload(Bucket=bucket, Key=item["Key"], UploadId=item["UploadId"])
                for item in client.list_objects_v2(Bucket=bucket).get("Contents", ()):
                    client.delete_object(Bucket=bucket, Key=item["Key"])

    def close(self) -> None:
        """Take the buckets away from a server that stays."""
        if self.kind == "minio":
            for bucket in (self._shared.bucket_in, self._shared.bucket_out):
                self._shared._client.delete_bucket(Bucket=bucket)


@contextmanager
def server_of(kind: str, folder: Path) -> Iterator[Server]:
    """Run one, or take the one that runs."""
    if kind == "moto":
        moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        moto.start()
        try:
            host, port = moto.get_host_and_port()
            yield Server(kind, f"http://{host}:{port}")
        finally:
            moto.stop()
    elif kind == "seaweedfs":
        with object_store(folder) as store:
            yield Server(kind, store.endpoint_url)
    else:
        url = os.environ.get("MINIO_URL", "")
        if not url:
            pytest.skip("MINIO_URL names no MinIO server")
        server = Server(kind, url)
        try:
            yield server
        finally:
            server.close()


class Requests:
    """Counts what a storage asks its server, and may stand in the way."""

    def __init__(self, storage: LibraryStorage) -> None:
        self.made: list[tuple[str, dict[str, Any]]] = []
        client: Any = build_s3_client(storage.settings)
        client.meta.events.register("before-parameter-build.s3", self._note)
        self.storage = LibraryStorage(storage.settings, client, piece_bytes=PIECE_BYTES)

    def _note(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.made.append((model.name, params))

    def count(self, operation: str) -> int:
        return sum(1 for name, _ in self.made if name == operation)

    def keys(self, operation: str) -> list[str]:
        return [params["Key"] for name, params in self.made if name == operation]
