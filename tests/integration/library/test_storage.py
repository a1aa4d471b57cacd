"""The same suite on every S3 server: keys, files, errors, URLs."""

import hashlib
import http.client
import os
import random
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from livedub.library.library_errors import (
    AccessDeniedError,
    BadKeyError,
    LibraryError,
    LibraryErrorCode,
    MissingBucketError,
    MissingKeyError,
)
from livedub.library.object_keys import ObjectInfo
from livedub.library.storage import LibraryStorage

from .object_stores import PIECE_BYTES, SERVERS, Requests, Server, server_of

LARGE = 2 * PIECE_BYTES + 12_345
ODD_KEYS = [
    "plain.mp4",
    "🎬/film 🎥.mp4",
    "ünïcode/日本語.mkv",
    "cafe\u0301.mp3",
    "with space+plus%20percent&amp;?#=;:@,$'()*!~.mp4",
    "a..b/..c/d.mp4",
    "-dash/_underscore.mp4",
    "k" * 251 + ".mp4",
    "é/" * 339 + "k.mp4",
]


class StopError(Exception):
    """Ends a transfer from its progress callback."""


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server_of(request.param, tmp_path_factory.mktemp("objects")) as running:
        yield running


@pytest.fixture
def storage(server: Server) -> Iterator[LibraryStorage]:
    with server.furnished() as storage:
        yield storage


def content(size_bytes: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size_bytes)


def stored(folder: Path, size_bytes: int, seed: int = 1) -> Path:
    path = folder / f"{seed}.mp4"
    path.write_bytes(content(size_bytes, seed))
    return path


def plain_request(url: str, method: str = "GET", **headers: str) -> tuple[int, bytes, dict[str, str]]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    try:
        connection.request(
            method, f"{parts.path}?{parts.query}" if parts.query else parts.path, headers=headers
        )
        answer = connection.getresponse()
        return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()


@pytest.mark.parametrize("size_bytes", [0, 1, PIECE_BYTES, LARGE])
def test_a_file_comes_back_as_it_went(storage: LibraryStorage, tmp_path: Path, size_bytes: int):
    path = stored(tmp_path, size_bytes)
    heard: list[tuple[int, int]] = []
    info = storage.upload_file(
        path, storage.bucket_in, "a/b.mp4", on_progress=lambda *told: heard.append(told)
    )
    assert (info.key, info.size_bytes) == ("a/b.mp4", size_bytes)
    assert heard[0] == (0, size_bytes)
    assert heard[-1] == (size_bytes, size_bytes)
    back = tmp_path / "deep" / "back.mp4"
    assert storage.download_file(storage.bucket_in, "a/b.mp4", back) == info
    assert back.read_bytes() == path.read_bytes()
    assert [path.name for path in back.parent.iterdir()] == ["back.mp4"]


@pytest.mark.parametrize("size_bytes", [10, LARGE])
def test_storing_takes_no_right_to_read(storage: LibraryStorage, tmp_path: Path, size_bytes: int):
    spy = Requests(storage)
    spy.storage.store_file(stored(tmp_path, size_bytes), storage.bucket_in, "a.mp4", resume=True)
    assert {name for name, _ in spy.made} <= {
        *("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"),  # s3:PutObject
        "ListMultipartUploads",  # s3:ListBucketMultipartUploads
        "ListParts",  # s3:ListMultipartUploadParts
    }
    assert storage.stat(storage.bucket_in, "a.mp4").size_bytes == size_bytes


@pytest.mark.parametrize("key", ODD_KEYS, ids=lambda key: key[:12])
def test_odd_keys_are_keys(storage: LibraryStorage, tmp_path: Path, key: str):
    path = stored(tmp_path, 10)
    storage.upload_file(path, storage.bucket_in, key)
    assert [info.key for info in storage.list_objects(storage.bucket_in)] == [key]
    assert storage.stat(storage.bucket_in, key).size_bytes == 10
    with storage.download_to_temp(storage.bucket_in, key) as temporary:
        assert temporary.read_bytes() == path.read_bytes()
    status, body, _ = plain_request(storage.get_presigned_url(storage.bucket_in, key))
    assert (status, body) == (200, path.read_bytes())
    assert storage.delete_prefix(storage.bucket_in, key) == 1


def test_a_name_that_servers_with_files_cannot_keep(storage: LibraryStorage, server: Server):
    key = "k" * 1_020 + ".mp4"
    if server.kind == "moto":
        storage.put_bytes(b"x", storage.bucket_in, key)
        assert storage.stat(storage.bucket_in, key).size_bytes == 1
    else:
        with pytest.raises(BadKeyError, match="255 bytes"):
            storage.put_bytes(b"x", storage.bucket_in, key)


@pytest.mark.parametrize("key", ["../etc/passwd", "a\nb.mp4", "", "/a", "k" * 1_025])
def test_bad_keys_never_reach_the_server(storage: LibraryStorage, tmp_path: Path, key: str):
    path = stored(tmp_path, 10)
    spy = Requests(storage)
    attempts = [
        lambda: spy.storage.upload_file(path, storage.bucket_in, key),
        lambda: spy.storage.download_file(storage.bucket_in, key, tmp_path / "x"),
        lambda: spy.storage.get_presigned_url(storage.bucket_in, key),
        lambda: spy.storage.delete_object(storage.bucket_in, key),
        lambda: spy.storage.stat(storage.bucket_in, key),
    ]
    for attempt in attempts:
        with pytest.raises(BadKeyError) as refused:
            attempt()
        assert refused.value.code is LibraryErrorCode.BAD_KEY
    assert spy.made == []


def test_a_listing_is_complete_sorted_and_filtered(storage: LibraryStorage):
    keys = [
        f"{folder}/{number:02}{end}"
        for folder in "ab"
        for number in range(12)
        for end in (".mp4", ".TXT", ".MP3")
    ]
    for key in keys:
        storage.put_bytes(b"x", storage.bucket_in, key)
    storage._client.put_object(Bucket=storage.bucket_in, Key="a/folder/", Body=b"")
    spy = Requests(storage)
    spy.storage._client.meta.events.register(
        "before-parameter-build.s3.ListObjectsV2", lambda params, **_: params.update(MaxKeys=7)
    )

    def listed(**how: object) -> list[str]:
        return [info.key for info in spy.storage.list_objects(storage.bucket_in, **how)]  # pyright: ignore[reportArgumentType]

    assert listed() == sorted(keys)
    age_s = [
        (datetime.now(timezone.utc) - info.modified_at).total_seconds()
        for info in spy.storage.list_objects(storage.bucket_in)
    ]
    assert all(-3_600 < one < 3_600 for one in age_s)
    assert spy.count("ListObjectsV2") > 10
    assert listed(prefix="b/") == sorted(key for key in keys if key.startswith("b/"))
    assert listed(extensions={".mp3", ".mp4"}) == sorted(key for key in keys if not key.endswith("TXT"))
    assert listed(prefix="nothing/") == []


def test_what_a_file_is_called_over_http(storage: LibraryStorage, tmp_path: Path):
    path = stored(tmp_path, 10)
    storage.upload_file(path, storage.bucket_in, "by-name.mkv")
    storage.upload_file(path, storage.bucket_in, "told.bin", "video/x-own")
    storage.upload_file(stored(tmp_path, LARGE), storage.bucket_in, "large.webm")
    for key, expected in {
        "by-name.mkv": "video/x-matroska",
        "told.bin": "video/x-own",
        "large.webm": "video/webm",
    }.items():
        _, _, headers = plain_request(storage.get_presigned_url(storage.bucket_in, key))
        assert headers["content-type"] == expected


def test_a_broken_download_goes_on_where_it_stopped(storage: LibraryStorage, tmp_path: Path):
    path, target = stored(tmp_path, 6 * PIECE_BYTES), tmp_path / "back.mp4"
    storage.upload_file(path, storage.bucket_in, "a.mp4")
    broken = Requests(storage)
    allowed = threading.Semaphore(3)

    def refuse(params: object, **_: object) -> None:
        if not allowed.acquire(blocking=False):
            raise StopError

    broken.storage._client.meta.events.register("before-parameter-build.s3.GetObject", refuse)
    with pytest.raises(StopError):
        broken.storage.download_file(storage.bucket_in, "a.mp4", target)
    assert not target.exists()
    healthy = Requests(storage)
    begun: list[int] = []
    healthy.storage.download_file(
        storage.bucket_in, "a.mp4", target, on_progress=lambda done, _size: begun.append(done)
    )
    assert target.read_bytes() == path.read_bytes()
    assert healthy.count("GetObject") == 6 - begun[0] // PIECE_BYTES
    assert sorted(one.name for one in tmp_path.iterdir()) == ["1.mp4", "back.mp4"]


def test_a_broken_download_of_what_was_replaced_begins_anew(storage: LibraryStorage, tmp_path: Path):
    target = tmp_path / "back.mp4"
    storage.upload_file(stored(tmp_path, LARGE, 1), storage.bucket_in, "a.mp4")

    def stop(done_bytes: int, size_bytes: int) -> None:
        if done_bytes == size_bytes:
            raise StopError

    with pytest.raises(StopError):
        storage.download_file(storage.bucket_in, "a.mp4", target, stop)
    newer = stored(tmp_path, LARGE, 2)
    storage.upload_file(newer, storage.bucket_in, "a.mp4")
    begun: list[int] = []
    storage.download_file(storage.bucket_in, "a.mp4", target, lambda done, _size: begun.append(done))
    assert begun[0] == 0
    assert target.read_bytes() == newer.read_bytes()


def test_an_object_replaced_while_it_is_read_is_never_mixed(storage: LibraryStorage, tmp_path: Path):
    storage.upload_file(stored(tmp_path, LARGE, 1), storage.bucket_in, "a.mp4")
    newer = stored(tmp_path, LARGE, 2)
    spy = Requests(storage)
    once = threading.Semaphore(1)

    def replace(params: object, **_: object) -> None:
        if once.acquire(blocking=False):
            storage.upload_file(newer, storage.bucket_in, "a.mp4")

    spy.storage._client.meta.events.register("before-parameter-build.s3.GetObject", replace)
    with pytest.raises(LibraryError) as changed:
        spy.storage.download_file(storage.bucket_in, "a.mp4", tmp_path / "back.mp4")
    assert changed.value.code is LibraryErrorCode.SOURCE_CHANGED
    assert not (tmp_path / "back.mp4").exists()


def test_a_broken_upload_goes_on_where_it_stopped(storage: LibraryStorage, tmp_path: Path):
    path = stored(tmp_path, 6 * PIECE_BYTES)
    broken = Requests(storage)
    allowed = threading.Semaphore(3)

    def refuse(params: object, **_: object) -> None:
        if not allowed.acquire(blocking=False):
            raise StopError

    broken.storage._client.meta.events.register("before-parameter-build.s3.UploadPart", refuse)
    with pytest.raises(StopError):
        broken.storage.upload_file(path, storage.bucket_in, "live/a.mp4", resume=True)
    assert list(storage.list_objects(storage.bucket_in)) == []
    again = Requests(storage)
    again.storage.upload_file(path, storage.bucket_in, "live/a.mp4", resume=True)
    assert again.count("CreateMultipartUpload") == 0
    assert again.count("UploadPart") < 6
    with storage.download_to_temp(storage.bucket_in, "live/a.mp4") as back:
        assert back.read_bytes() == path.read_bytes()
    assert unfinished(storage) == []


def test_an_upload_of_another_file_takes_nothing_over(storage: LibraryStorage, tmp_path: Path):
    other, path = stored(tmp_path, LARGE, 1), stored(tmp_path, LARGE, 2)
    with pytest.raises(StopError):
        storage.upload_file(other, storage.bucket_in, "a.mp4", on_progress=stop_at_the_end, resume=True)
    storage.upload_file(path, storage.bucket_in, "a.mp4", resume=True)
    with storage.download_to_temp(storage.bucket_in, "a.mp4") as back:
        assert back.read_bytes() == path.read_bytes()


def test_a_broken_upload_leaves_nothing_unless_it_is_to_be_resumed(storage: LibraryStorage, tmp_path: Path):
    with pytest.raises(StopError):
        storage.upload_file(stored(tmp_path, LARGE), storage.bucket_in, "a.mp4", on_progress=stop_at_the_end)
    assert list(storage.list_objects(storage.bucket_in)) == []
    assert unfinished(storage) == []


@pytest.mark.parametrize("size_bytes", [100, LARGE])
def test_a_file_that_is_still_written_is_not_stored(
    storage: LibraryStorage, tmp_path: Path, size_bytes: int, monkeypatch: pytest.MonkeyPatch
):
    path = stored(tmp_path, size_bytes)
    real = os.fstat
    calls: list[int] = []

    def fstat(fd: int) -> os.stat_result:
        calls.append(fd)
        if len(calls) == 2:
            with path.open("ab") as file:
                file.write(b"more")
        return real(fd)

    monkeypatch.setattr("livedub.library.storage.os.fstat", fstat)
    with pytest.raises(LibraryError) as changed:
        storage.upload_file(path, storage.bucket_in, "a.mp4")
    assert changed.value.code is LibraryErrorCode.SOURCE_CHANGED
    assert list(storage.list_objects(storage.bucket_in)) == []


def stop_at_the_end(done_bytes: int, size_bytes: int) -> None:
    if done_bytes == size_bytes:
        raise StopError


def unfinished(storage: LibraryStorage) -> list[str]:
    answer = storage._client.list_multipart_uploads(Bucket=storage.bucket_in)
    return [item["Key"] for item in answer.get("Uploads", ())]


def test_a_temporary_file_is_gone_however_its_block_ends(
    storage: LibraryStorage, server: Server, tmp_path: Path
):
    work_dir = tmp_path / "work"
    storage.put_bytes(b"12345", storage.bucket_in, "a/b.MKV")
    storage = server.storage(bucket_in=storage.bucket_in, work_dir=str(work_dir))
    with storage.download_to_temp(storage.bucket_in, "a/b.MKV") as path:
        assert path.is_relative_to(work_dir)
        assert path.name == "source.mkv"
        assert path.read_bytes() == b"12345"
    with pytest.raises(StopError), storage.download_to_temp(storage.bucket_in, "a/b.MKV"):
        raise StopError
    with pytest.raises(MissingKeyError), storage.download_to_temp(storage.bucket_in, "no.mkv"):
        pass
    assert list(work_dir.iterdir()) == []


def test_a_folder_arrives_with_its_playlists_last(storage: LibraryStorage, tmp_path: Path):
    folder = tmp_path / "hls"
    for name in ("index.m3u8", "720p/index.m3u8", "720p/1.ts", "720p/2.ts", "zz.vtt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "link.ts").symlink_to("/etc/hostname")
    spy = Requests(storage)
    heard: list[tuple[int, int]] = []
    infos = spy.storage.upload_folder(folder, storage.bucket_out, "job/1", lambda *told: heard.append(told))
    names = [
        "job/1/720p/1.ts",
        "job/1/720p/2.ts",
        "job/1/720p/index.m3u8",
        "job/1/index.m3u8",
        "job/1/zz.vtt",
    ]
    assert sorted(info.key for info in infos) == names
    assert [key for key in spy.keys("PutObject") if key.endswith(".m3u8")] == spy.keys("PutObject")[-2:]
    assert heard[-1][0] == heard[-1][1] == sum(info.size_bytes for info in infos)
    assert storage.delete_prefix(storage.bucket_out, "job/1/") == 5
    assert list(storage.list_objects(storage.bucket_out)) == []


def test_deleting_nothing_is_no_error_and_everything_is(storage: LibraryStorage):
    storage.delete_object(storage.bucket_in, "not/there.mp4")
    assert storage.delete_prefix(storage.bucket_in, "not/") == 0
    with pytest.raises(BadKeyError, match="whole bucket"):
        storage.delete_prefix(storage.bucket_in, "")


def test_what_is_missing_is_named(storage: LibraryStorage, server: Server, tmp_path: Path):
    nowhere = server.storage()
    for attempt in (
        lambda: storage.stat(storage.bucket_in, "no.mp4"),
        lambda: storage.download_file(storage.bucket_in, "no.mp4", tmp_path / "x"),
    ):
        with pytest.raises(MissingKeyError, match=r"no\.mp4") as missing:
            attempt()
        assert missing.value.code is LibraryErrorCode.NO_SUCH_KEY
    for attempt in (
        lambda: nowhere.stat(nowhere.bucket_in, "no.mp4"),
        lambda: nowhere.download_file(nowhere.bucket_in, "no.mp4", tmp_path / "x"),
        lambda: list(nowhere.list_objects(nowhere.bucket_in)),
        lambda: nowhere.upload_file(stored(tmp_path, 10), nowhere.bucket_in, "a.mp4"),
        lambda: nowhere.upload_file(stored(tmp_path, LARGE), nowhere.bucket_in, "a.mp4"),
        nowhere.check,
    ):
        with pytest.raises(MissingBucketError) as no_bucket:
            attempt()
        assert no_bucket.value.code is LibraryErrorCode.NO_SUCH_BUCKET
        assert nowhere.bucket_in in no_bucket.value.message


def test_who_is_not_known_gets_nothing(storage: LibraryStorage, server: Server, tmp_path: Path):
    if not server.checks_signatures:
        pytest.skip("moto lets everybody in")
    storage.put_bytes(b"x", storage.bucket_in, "a.mp4")
    names = {"bucket_in": storage.bucket_in, "bucket_out": storage.bucket_out}
    for changes in ({"s3_secret_access_key": "wrong"}, {"s3_access_key_id": "nobody"}):
        stranger = server.storage(**names, **changes)
        large = partial(stranger.upload_file, stored(tmp_path, LARGE), storage.bucket_in, "b.mp4")
        for attempt in (
            partial(stranger.stat, storage.bucket_in, "a.mp4"),
            partial(list[ObjectInfo], stranger.list_objects(storage.bucket_in)),
            partial(stranger.put_bytes, b"y", storage.bucket_in, "a.mp4"),
            partial(stranger.delete_object, storage.bucket_in, "a.mp4"),
            large,
        ):
            with pytest.raises(AccessDeniedError) as denied:
                attempt()
            assert denied.value.code is LibraryErrorCode.ACCESS_DENIED
    assert [info.key for info in storage.list_objects(storage.bucket_in)] == ["a.mp4"]


def test_a_url_lets_its_holder_read_or_store_one_object(storage: LibraryStorage, server: Server):
    data = content(1_000)
    put = storage.get_presigned_url(storage.bucket_in, "a b.mp4", "PUT", content_type="video/mp4")
    parts = urlsplit(put)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.request("PUT", f"{parts.path}?{parts.query}", data, {"Content-Type": "video/mp4"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == 200
    get = storage.get_presigned_url(storage.bucket_in, "a b.mp4", expires_s=60)
    assert plain_request(get)[:2] == (200, data)
    status, body, headers = plain_request(get, Range="bytes=10-19")
    assert (status, body) == (206, data[10:20])
    assert headers["content-range"] == "bytes 10-19/1000"
    if server.checks_signatures:
        assert plain_request(get.replace("a%20b.mp4", "other.mp4"))[0] == 403
        assert plain_request(get, method="DELETE")[0] == 403


@pytest.mark.parametrize("expires_s", [0, -1, 604_801])
def test_a_url_has_a_life(storage: LibraryStorage, expires_s: int):
    with pytest.raises(LibraryError) as refused:
        storage.get_presigned_url(storage.bucket_in, "a.mp4", expires_s=expires_s)
    assert refused.value.code is LibraryErrorCode.INVALID_REQUEST


def test_a_range_is_read_without_the_rest(storage: LibraryStorage):
    data = content(100_000)
    storage.put_bytes(data, storage.bucket_in, "a.mp4")
    storage.put_bytes(b"", storage.bucket_in, "empty.mp4")
    with storage.open_range(storage.bucket_in, "a.mp4", 10, 20) as part:
        assert part.read_all() == data[10:20]
        assert (part.start, part.end, part.info.size_bytes) == (10, 20, 100_000)
    info = storage.stat(storage.bucket_in, "a.mp4")
    assert storage.read_range(storage.bucket_in, info, 10, 20) == data[10:20]
    assert storage.read_range(storage.bucket_in, info, 99_990, 1_000_000) == data[-10:]
    with storage.open_range(storage.bucket_in, "a.mp4", 99_990, 1_000_000) as part:
        assert part.read_all() == data[-10:]
    with storage.open_range(storage.bucket_in, "a.mp4") as part:
        assert part.read_all() == data
    with storage.open_range(storage.bucket_in, "empty.mp4") as part:
        assert part.read_all() == b""
    with (
        pytest.raises(LibraryError, match="nothing from 100000"),
        storage.open_range(storage.bucket_in, "a.mp4", 100_000),
    ):
        pass


def test_buckets_are_made_once_and_kept(storage: LibraryStorage):
    storage.put_bytes(b"x", storage.bucket_out, "kept.mp4")
    storage.ensure_buckets()
    storage.check()
    assert [info.key for info in storage.list_objects(storage.bucket_out)] == ["kept.mp4"]


def test_public_buckets_are_read_by_everybody_and_no_more(storage: LibraryStorage, server: Server):
    if not server.checks_signatures:
        pytest.skip("moto lets everybody in")
    storage.put_bytes(b"hidden", storage.bucket_in, "a.mp4")
    assert plain_request(f"{server.endpoint_url}/{storage.bucket_in}/a.mp4")[0] == 403
    storage.ensure_buckets(public_read=True)
    storage.put_bytes(b"0123456789", storage.bucket_in, "a/ü.mp4")
    url = f"{server.endpoint_url}/{storage.bucket_in}/{quote('a/ü.mp4')}"
    assert plain_request(url)[:2] == (200, b"0123456789")
    assert plain_request(url, Range="bytes=2-3")[:2] == (206, b"23")
    assert plain_request(url, method="DELETE")[0] == 403
    assert plain_request(f"{server.endpoint_url}/{storage.bucket_in}/")[0] == 403
    storage._client.delete_bucket_policy(Bucket=storage.bucket_in)


def test_two_uploads_of_one_key_at_once_leave_one_of_them_whole(storage: LibraryStorage, tmp_path: Path):
    paths = [stored(tmp_path, LARGE, seed) for seed in (1, 2)]
    failures: list[BaseException] = []

    def upload(path: Path) -> None:
        try:
            storage.upload_file(path, storage.bucket_in, "a.mp4")
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=upload, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    with storage.download_to_temp(storage.bucket_in, "a.mp4") as back:
        digest = hashlib.sha256(back.read_bytes()).digest()
    assert digest in {hashlib.sha256(path.read_bytes()).digest() for path in paths}
