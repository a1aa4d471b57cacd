"""Servers that are away, disks that are full, processes that are killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from livedub.library import storage as storage_module
from livedub.library.library_errors import DiskFullError, LibraryErrorCode, StorageUnavailableError
from livedub.library.library_settings import LibrarySettings
from livedub.library.storage import LibraryStorage
from livedub.library.transfers import MIB
from local.object_store import ObjectStore, external_object_store, object_store
from local.ports import free_port

from .object_stores import PIECE_BYTES, Requests, Server, server_of

ROOT = Path(__file__).resolve().parents[3]
BOUND_S = 60.0

_DIE_HALFWAY = """
import os, signal, sys
from pathlib import Path
from livedub.library.library_settings import LibrarySettings
from livedub.library.storage import LibraryStorage
direction, path, key = sys.argv[1:]
storage = LibraryStorage(LibrarySettings.load(), piece_bytes=5 * 1024 * 1024)
def die(done_bytes, size_bytes):
    if done_bytes > size_bytes * 4 // 5:  # more than eight pieces under way can have, so one is whole
        os.kill(os.getpid(), signal.SIGKILL)
if direction == "down":
    storage.download_file(storage.bucket_in, key, Path(path), die)
else:
    storage.upload_file(Path(path), storage.bucket_in, key, on_progress=die, resume=True)
"""


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server_of("moto", tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture
def storage(moto: Server) -> Iterator[LibraryStorage]:
    with moto.furnished() as storage:
        yield storage


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        pytest.skip("no mount program here")
    if mounted.returncode != 0:
        pytest.skip(f"mounting is not permitted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, timeout=30)


def test_nobody_answers(tmp_path: Path):
    settings = LibrarySettings.model_validate({"endpoint_url": f"http://127.0.0.1:{free_port()}"})
    with pytest.raises(StorageUnavailableError, match="S3_ENDPOINT_URL") as down:
        LibraryStorage(settings).stat("in", "a.mp4")
    assert down.value.code is LibraryErrorCode.ENDPOINT_DOWN
    assert down.value.retryable


def test_a_full_disk_is_said_before_anything_is_fetched(storage: LibraryStorage, small_disk: Path):
    storage.put_bytes(os.urandom(9 * MIB), storage.bucket_in, "large.mp4")
    storage.put_bytes(b"small", storage.bucket_in, "small.mp4")
    spy = Requests(storage)
    with pytest.raises(DiskFullError, match="LIBRARY_WORK_DIR") as full:
        spy.storage.download_file(storage.bucket_in, "large.mp4", small_disk / "large.mp4")
    assert full.value.code is LibraryErrorCode.DISK_FULL
    assert spy.count("GetObject") == 0
    assert list(small_disk.iterdir()) == []
    storage.download_file(storage.bucket_in, "small.mp4", small_disk / "small.mp4")


def test_the_module_speaks_for_the_environment(
    moto: Server, storage: LibraryStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("S3_ENDPOINT_URL", moto.endpoint_url)
    monkeypatch.setenv("S3_BUCKET_IN", storage.bucket_in)
    monkeypatch.setenv("S3_BUCKET_OUT", storage.bucket_out)
    storage_module.default_storage.cache_clear()
    try:
        assert (storage.bucket_in, storage.bucket_out) == (
            storage_module.BUCKET_IN,
            storage_module.BUCKET_OUT,
        )
        path = tmp_path / "a.mp4"
        path.write_bytes(b"12345")
        storage_module.upload_file(path, storage_module.BUCKET_IN, "a.mp4")
        assert [info.key for info in storage_module.list_objects(storage.bucket_in)] == ["a.mp4"]
        with storage_module.download_to_temp(storage.bucket_in, "a.mp4") as back:
            assert back.read_bytes() == b"12345"
        storage_module.download_file(storage.bucket_in, "a.mp4", tmp_path / "b.mp4")
        assert (tmp_path / "b.mp4").read_bytes() == b"12345"
        assert "X-Amz-Signature" in storage_module.get_presigned_url(storage.bucket_in, "a.mp4")
        client = storage_module.get_s3_client()
        assert client.head_object(Bucket=storage.bucket_in, Key="a.mp4")["ContentLength"] == 5
        with pytest.raises(AttributeError):
            _ = storage_module.BUCKET_ELSEWHERE  # pyright: ignore[reportAttributeAccessIssue]
    finally:
        storage_module.default_storage.cache_clear()


def killed(store: ObjectStore, direction: str, path: Path, key: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _DIE_HALFWAY, direction, str(path), key],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}:{ROOT / 'layers/core/python'}",
            **store.environment,
        },
        timeout=BOUND_S,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_kills_of_everybody_cost_nothing_but_time(tmp_path: Path):
    content = os.urandom(12 * PIECE_BYTES)
    sent, got = tmp_path / "sent.mp4", tmp_path / "got.mp4"
    sent.write_bytes(content)
    with object_store(tmp_path / "store") as store:
        killed(store, "up", sent, "live/a.mp4")
        whole = LibraryStorage(store.settings, piece_bytes=PIECE_BYTES)
        assert list(whole.list_objects(store.bucket_in)) == []
        again = Requests(whole)
        again.storage.upload_file(sent, store.bucket_in, "live/a.mp4", resume=True)
        assert again.count("UploadPart") < 12
        killed(store, "down", got, "live/a.mp4")
        assert not got.exists()
    # The server is stopped between the two tries; its data stays.
    with object_store(tmp_path / "store") as store:
        # The address is another one, so what was begun at the first is not taken for the same object: all comes anew.
        resumed = Requests(LibraryStorage(store.settings, piece_bytes=PIECE_BYTES))
        resumed.storage.download_file(store.bucket_in, "live/a.mp4", got)
        assert got.read_bytes() == content
        killed(store, "down", tmp_path / "other.mp4", "live/a.mp4")
        before = resumed.count("GetObject")
        resumed.storage.download_file(store.bucket_in, "live/a.mp4", tmp_path / "other.mp4")
        assert resumed.count("GetObject") - before < 12
        assert (tmp_path / "other.mp4").read_bytes() == content


@pytest.mark.slow
def test_a_server_that_is_away_is_an_error_until_it_is_back(tmp_path: Path):
    content = os.urandom(8 * PIECE_BYTES)
    sent, got = tmp_path / "sent.mp4", tmp_path / "got.mp4"
    sent.write_bytes(content)
    port = free_port()
    with object_store(tmp_path / "store", port=port) as store:
        storage = LibraryStorage(store.settings, piece_bytes=PIECE_BYTES)
        storage.upload_file(sent, store.bucket_in, "a.mp4")
        info = storage.stat(store.bucket_in, "a.mp4")
    with pytest.raises(StorageUnavailableError):
        storage.read_range(store.bucket_in, info, 0, 10)
    with object_store(tmp_path / "store", port=port) as store:
        assert storage.download_file(store.bucket_in, "a.mp4", got).etag == info.etag
        assert got.read_bytes() == content


async def test_a_storage_that_runs_already_serves_the_stack(moto: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("S3_BUCKET_IN", "their-in")
    monkeypatch.setenv("S3_BUCKET_OUT", "their-out")
    monkeypatch.setenv("S3_ACCESS_KEY_ID", "their-key")
    monkeypatch.setenv("S3_SECRET_ACCESS_KEY", "their-secret")
    async with external_object_store(f"{moto.endpoint_url}/") as store:
        assert store.environment == {
            "S3_ENDPOINT_URL": moto.endpoint_url,
            "S3_BUCKET_IN": "their-in",
            "S3_BUCKET_OUT": "their-out",
            "S3_ACCESS_KEY_ID": "their-key",
            "S3_SECRET_ACCESS_KEY": "their-secret",
        }
        LibraryStorage(store.settings).check()
    async with external_object_store(moto.endpoint_url) as again:
        assert again == store
