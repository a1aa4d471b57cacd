import errno
import os
import threading
from pathlib import Path

import pytest

from livedub.errors import ConfigurationError
from livedub.media_cache.key import ObjectPath, Variant
from media_edge.cache.blob_store import BlobStore, DiskFullError, StoreGoneError

PATH = ObjectPath("ab", "ab" * 32, Variant.PCM)


@pytest.fixture
def store(tmp_path: Path):
    opened = BlobStore(tmp_path)
    yield opened
    opened.close()


def put(store: BlobStore, body: bytes, path: ObjectPath = PATH) -> bool:
    with store.stage() as blob:
        blob.write([body], durably=True)
        return store.publish(blob, path)


def file_of(folder: Path, path: ObjectPath = PATH) -> Path:
    return folder / path.path.removeprefix("/")


def staged(folder: Path) -> list[str]:
    return [entry.name for entry in (folder / "staging").iterdir() if entry.name != ".owner"]


def test_an_object_is_new_once_and_replaced_afterwards(store: BlobStore, tmp_path: Path):
    assert put(store, b"first")
    assert not put(store, b"second, longer")
    assert file_of(tmp_path).read_bytes() == b"second, longer"
    assert staged(tmp_path) == []


def test_nothing_is_seen_before_it_is_published(store: BlobStore, tmp_path: Path):
    with store.stage() as blob:
        blob.write([b"x" * 1_000])
        assert not file_of(tmp_path).exists()
        assert staged(tmp_path) == []
    assert not file_of(tmp_path).exists()


def test_what_is_served_is_readable_and_the_stage_is_not(tmp_path: Path):
    mask = os.umask(0o077)
    try:
        store = BlobStore(tmp_path)
        put(store, b"x")
        store.close()
    finally:
        os.umask(mask)
    modes = [file.stat().st_mode & 0o777 for file in (file_of(tmp_path), file_of(tmp_path).parent)]
    assert modes == [0o644, 0o755]
    assert (tmp_path / "media").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "staging").stat().st_mode & 0o777 == 0o700


def test_deleting_tells_whether_there_was_one(store: BlobStore):
    put(store, b"x")
    assert store.delete(PATH)
    assert not store.delete(PATH)


def test_orphans_of_a_killed_process_are_swept_at_the_start(tmp_path: Path):
    BlobStore(tmp_path).close()
    (tmp_path / "staging" / "4711-0").write_bytes(b"left")
    again = BlobStore(tmp_path)
    assert again.swept == 1
    assert staged(tmp_path) == []
    again.close()


def test_a_folder_has_one_owner(store: BlobStore, tmp_path: Path):
    with pytest.raises(ConfigurationError, match="another upload service"):
        BlobStore(tmp_path)
    store.close()
    BlobStore(tmp_path).close()


def test_a_folder_without_a_volume_is_refused_where_one_is_asked_for(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="not a mount point"):
        BlobStore(tmp_path, require_mount=True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_stage_is_refused():
    with pytest.raises(ConfigurationError, match="cannot be used"):
        BlobStore(Path("/proc/self"))


def test_a_folder_exchanged_under_the_service_is_noticed(tmp_path: Path):
    folder = tmp_path / "volume"
    store = BlobStore(folder)
    store.check()
    folder.rename(tmp_path / "old")
    with pytest.raises(StoreGoneError):
        store.check()
    (folder / "media").mkdir(parents=True)
    with pytest.raises(StoreGoneError):
        store.check()
    store.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["open", "pwritev", "link"])
def test_no_room_is_told_as_such_and_keeps_the_old_object(
    store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
):
    put(store, b"old")

    def full(*_: object, **__: object):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(f"media_edge.cache.blob_store.os.{call}", full)
    with pytest.raises(DiskFullError):
        put(store, b"new")
    monkeypatch.undo()
    assert file_of(tmp_path).read_bytes() == b"old"
    assert staged(tmp_path) == []


def test_a_rename_that_fails_leaves_no_orphan(
    store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    put(store, b"old")

    def refuse(*_: object, **__: object):
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr("media_edge.cache.blob_store.os.rename", refuse)
    with pytest.raises(OSError, match="no"):
        put(store, b"new")
    monkeypatch.undo()
    assert file_of(tmp_path).read_bytes() == b"old"
    assert staged(tmp_path) == []


def test_writers_of_one_key_never_show_a_torn_object(store: BlobStore, tmp_path: Path):
    writers, rounds, size = 8, 25, 20_000
    done = threading.Event()
    torn: list[bytes] = []
    seen = 0

    def read():
        nonlocal seen
        while not done.is_set():
            try:
                body = file_of(tmp_path).read_bytes()
            except FileNotFoundError:
                continue
            seen += 1
            if body != body[:1] * size:
                torn.append(body)

    created: list[bool] = []

    def write(letter: bytes):
        created.extend(put(store, letter * size) for _ in range(rounds))

    reader = threading.Thread(target=read)
    reader.start()
    threads = [threading.Thread(target=write, args=(bytes([65 + number]),)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    reader.join()
    assert len(created) == writers * rounds
    assert created.count(True) == 1
    assert seen > 0
    assert torn == []
    assert staged(tmp_path) == []
