"""A bucket of a real server, scanned into a real catalogue, and what is in it read."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from livedub.library.catalogue import Catalogue, connect_catalogue
from livedub.library.library_errors import LibraryErrorCode, MissingBucketError, StorageUnavailableError
from livedub.library.library_settings import LibrarySettings
from livedub.library.probing import ReadResult, read_assets
from livedub.library.scan import scan_bucket
from livedub.library.storage import LibraryStorage
from livedub.library.types import AssetStatus, PageRequest, ScanResult, StreamKind
from tests.unit.livedub.library.media_samples import sample

from .object_stores import SERVERS, Server, server_of

KEYS = ["a/x.wav", "a-b/x.wav", "a.b/ü 🎬.wav", "a/broken.mp4", "a0.mkv", "z/song.wav"]
"""Their bytes are in another order than their folders."""


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server_of(request.param, tmp_path_factory.mktemp("objects")) as running:
        yield running


@pytest.fixture
def storage(server: Server) -> Iterator[LibraryStorage]:
    with server.furnished() as storage:
        for key in KEYS:
            storage.put_bytes(contents(key), storage.bucket_in, key)
        storage.put_bytes(b"A note.", storage.bucket_in, "a/readme.txt")
        yield storage


@pytest.fixture
def catalogue(database_url: str) -> Iterator[Catalogue]:
    opened = connect_catalogue(database_url)
    opened.database.migrate(wait_ms=30_000)
    yield opened
    opened.close()


def contents(key: str) -> bytes:
    if key == "a/broken.mp4":
        return sample(".mp4")[:-500]
    return sample(Path(key).suffix)


def scan(storage: LibraryStorage, catalogue: Catalogue, prefix: str = "") -> ScanResult:
    return scan_bucket(storage, catalogue.assets, prefix, bucket_name=storage.bucket_in)


def read(storage: LibraryStorage, catalogue: Catalogue) -> ReadResult:
    return read_assets(storage, catalogue.assets, bucket_name=storage.bucket_in)


def test_from_files_to_assets_and_back(storage: LibraryStorage, catalogue: Catalogue):
    first = scan(storage, catalogue)
    assert (first.found, first.registered, first.files) == (6, 6, tuple(sorted(KEYS, key=str.encode)))
    assert read(storage, catalogue) == ReadResult(ready=5, unreadable=1, left=0)
    films = catalogue.assets.list(PageRequest(), kind=StreamKind.VIDEO).items
    assert [(film.key, film.status, film.container) for film in films] == [
        ("a0.mkv", AssetStatus.READY, "matroska,webm")
    ]
    (broken,) = catalogue.assets.list(status=AssetStatus.UNREADABLE).items
    assert broken.error is not None
    assert (broken.key, broken.error.code) == ("a/broken.mp4", LibraryErrorCode.TRUNCATED)

    again = scan(storage, catalogue)
    assert (again.found, again.skipped, again.registered, again.changed, again.gone) == (6, 6, 0, 0, 0)
    assert read(storage, catalogue) == ReadResult()

    storage.put_bytes(sample(".mp4"), storage.bucket_in, "a/broken.mp4")
    storage.delete_object(storage.bucket_in, "a-b/x.wav")
    after = scan(storage, catalogue)
    assert (after.found, after.skipped, after.changed, after.gone) == (5, 4, 1, 1)
    assert after.files == ("a/broken.mp4",)
    assert read(storage, catalogue) == ReadResult(ready=1, unreadable=0, left=0)
    assert catalogue.assets.counts() == {
        AssetStatus.REGISTERED: 0,
        AssetStatus.READY: 5,
        AssetStatus.UNREADABLE: 0,
        AssetStatus.GONE: 1,
    }


def test_a_scan_of_a_folder_keeps_to_it(storage: LibraryStorage, catalogue: Catalogue):
    assert scan(storage, catalogue, "a/").files == ("a/broken.mp4", "a/x.wav")
    assert scan(storage, catalogue, "a").registered == 3


def test_what_was_replaced_or_deleted_since_the_scan_is_left(storage: LibraryStorage, catalogue: Catalogue):
    scan(storage, catalogue)
    storage.put_bytes(sample(".flac"), storage.bucket_in, "a0.mkv")
    storage.delete_object(storage.bucket_in, "z/song.wav")
    assert read(storage, catalogue) == ReadResult(ready=3, unreadable=1, left=2)
    assert catalogue.assets.counts()[AssetStatus.GONE] == 1
    assert scan(storage, catalogue).changed == 1
    assert read(storage, catalogue) == ReadResult(ready=0, unreadable=1, left=0)


def test_a_bucket_that_is_not_there_has_its_code(server: Server, catalogue: Catalogue):
    storage = server.storage()
    with pytest.raises(MissingBucketError):
        scan(storage, catalogue)


def test_a_server_that_is_not_there_has_its_code(catalogue: Catalogue):
    # Port 1 is nobody's.
    storage = LibraryStorage(LibrarySettings(endpoint_url="http://127.0.0.1:1"))
    with pytest.raises(StorageUnavailableError):
        scan_bucket(storage, catalogue.assets, bucket_name="b")
