"""The library's files in S3-compatible storage: the same calls and keys on one machine and in AWS.

Which storage it is, settings say (`S3_ENDPOINT_URL`), and nothing else asks. Every call waits with a bound and fails
with a `LibraryError` whose code never changes. The functions at the end use what the environment names.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from collections.abc import Collection, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.library_settings import LibrarySettings
from livedub.library.media_types import content_type_of
from livedub.library.multipart_client import FileUpload, send_in_parts
from livedub.library.object_client import Method, ObjectClient
from livedub.library.object_keys import ObjectInfo, check_key, check_prefix, extension_of
from livedub.library.s3_client import build_s3_client
from livedub.library.transfers import MIB, WORKERS, Progress, disk_errors, download, files_below

BUCKET_IN: str
"""The bucket of what comes in, by the environment as it is when this is first used."""
BUCKET_OUT: str
"""The bucket of what jobs make, likewise."""

PIECE_BYTES = 16 * MIB
_PLAYLISTS = (".m3u8",)


@dataclass(frozen=True, slots=True)
class RangeReader:
    """An object, or a part of it, that is being read.

    Attributes:
        info: the whole object.
        start: first byte that comes.
        end: the one behind the last.
        content_type: as it was stored.
        blocks: the bytes, in blocks.
    """

    info: ObjectInfo
    start: int
    end: int
    content_type: str
    blocks: Iterator[bytes]

    def read_all(self) -> bytes:
        """Everything in one piece; for small things."""
        return b"".join(self.blocks)


class LibraryStorage(ObjectClient):
    """Whole files to and from the storage that `settings` name, besides what `ObjectClient` does.

    `piece_bytes` is what goes over one connection in one request; S3 takes no parts below 5 MiB.
    """

    def __init__(
        self, settings: LibrarySettings, client: Any = None, *, piece_bytes: int = PIECE_BYTES
    ) -> None:
        super().__init__(settings, client)
        self._piece_bytes = piece_bytes

    def download_file(
        self, bucket: str, key: str, path: Path, on_progress: Progress | None = None
    ) -> ObjectInfo:
        """Fetch an object into `path`, which is replaced in one step once all has come.

        A download that broke off, even by a kill, is taken up where it stopped, if the object is still the same:
        what it had lies hidden beside `path`.

        Args:
            bucket: where.
            key: which.
            path: the file to make; its folder is made where it is missing.
            on_progress: hears (bytes done, bytes in all), in this thread; what it raises ends the download.

        Raises:
            MissingKeyError: there is no such object.
            SourceChangedError: it was replaced meanwhile.
            DiskFullError: there is no room.
            LibraryError: the key is malformed, or the storage does not answer or refuses.
        """
        info = self.stat(bucket, key)
        with disk_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        download(
            lambda start, end: self._fetch(bucket, info, start, end),
            path,
            size_bytes=info.size_bytes,
            identity=f"{self.settings.endpoint_url} {bucket} {key} {info.etag}",
            piece_bytes=self._piece_bytes,
            on_progress=on_progress,
        )
        return info

    @contextmanager
    def download_to_temp(self, bucket: str, key: str, on_progress: Progress | None = None) -> Generator[Path]:
        """Fetch an object into a folder of its own below the work folder, gone with the block.

        The file is called `source` with the key's extension: a key may be longer than a file's name may be.

        Raises:
            As `download_file`.
        """
        check_key(key)
        parent = self.settings.work_dir
        if parent is not None:
            with disk_errors(parent):
                parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="livedub-", dir=parent))
        try:
            path = folder / f"source{extension_of(key)}"
            self.download_file(bucket, key, path, on_progress)
            yield path
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def upload_file(
        self,
        path: Path,
        bucket: str,
        key: str,
        content_type: str = "",
        on_progress: Progress | None = None,
        *,
        resume: bool = False,
    ) -> ObjectInfo:
        """`store_file`, and what the storage has then: asking takes the right to read it."""
        self.store_file(path, bucket, key, content_type, on_progress, resume=resume)
        return self.stat(bucket, key)

    def store_file(
        self,
        path: Path,
        bucket: str,
        key: str,
        content_type: str = "",
        on_progress: Progress | None = None,
        *,
        resume: bool = False,
    ) -> None:
        """Store a file under `key`, where it appears whole or not at all; every request carries a CRC-32.

        Args:
            path: the file.
            bucket: where.
            key: which; what is there is replaced.
            content_type: what HTTP will call it; empty goes by the key's extension.
            on_progress: hears (bytes done, bytes in all), in this thread; what it raises ends the upload.
            resume: take up what an earlier upload of this key left in the storage, where its parts are those of
                this file, and leave what has come for the next try. Without it a failed upload leaves nothing.

        Raises:
            LibraryError: the key is malformed, the file changes meanwhile (SOURCE_CHANGED), or the storage does
                not answer or refuses.
            OSError: the file cannot be read.
        """
        check_key(key)
        named = content_type or content_type_of(key)
        with path.open("rb") as file:
            before = os.fstat(file.fileno())

            def require_same() -> None:
                after = os.fstat(file.fileno())
                if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                    raise _ChangedFileError(path, bucket, key)

            if before.st_size <= self._piece_bytes:
                data = file.read()
                require_same()
                self._put_small(data, bucket, key, named, on_progress)
            else:
                upload = FileUpload(
                    bucket,
                    key,
                    named,
                    file.fileno(),
                    before.st_size,
                    self._piece_bytes,
                    on_progress,
                    before_end=require_same,
                )
                with self._errors(f"writing {bucket}/{key}", bucket, key):
                    try:
                        send_in_parts(self._client, upload, resume=resume)
                    except EOFError as error:
                        raise _ChangedFileError(path, bucket, key) from error

    def upload_folder(
        self, folder: Path, bucket: str, prefix: str, on_progress: Progress | None = None
    ) -> list[ObjectInfo]:
        """Store every file below `folder` under `prefix`, playlists after what they name.

        Raises:
            As `upload_file`. What had been stored until then stays: `delete_prefix` takes it away.
        """
        base = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
        check_prefix(base)
        files = list(files_below(folder))
        total_bytes = sum(path.stat().st_size for path in files)

        def store(path: Path) -> ObjectInfo:
            return self.upload_file(path, bucket, f"{base}{path.relative_to(folder).as_posix()}")

        early = [path for path in files if path.suffix not in _PLAYLISTS]
        late = [path for path in files if path.suffix in _PLAYLISTS]
        stored: list[ObjectInfo] = []
        with ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="upload") as pool:
            try:
                for batch in (early, late):
                    for info in pool.map(store, batch):
                        stored.append(info)
                        if on_progress is not None:
                            on_progress(sum(one.size_bytes for one in stored), total_bytes)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return stored

    @contextmanager
    def open_range(
        self, bucket: str, key: str, start: int = 0, end: int | None = None
    ) -> Generator[RangeReader]:
        """Read an object from byte `start` up to, not including, `end` (None: to the end), without keeping it.

        Raises:
            MissingKeyError: there is no such object.
            LibraryError: the key is malformed, the range begins behind the end (INVALID_REQUEST), or the storage
                does not answer or refuses.
        """
        info = self.stat(bucket, key)
        stop = info.size_bytes if end is None else min(end, info.size_bytes)
        if start < 0 or (start >= stop and info.size_bytes > 0) or (info.size_bytes == 0 and start > 0):
            raise LibraryError(
                LibraryErrorCode.INVALID_REQUEST,
                f"{bucket}/{key} has {info.size_bytes} bytes; there is nothing from {start} to {end}.",
            )
        blocks = self._fetch(bucket, info, start, stop)
        try:
            yield RangeReader(info, start, stop, content_type_of(key), blocks)
        finally:
            blocks.close()

    def _put_small(
        self, data: bytes, bucket: str, key: str, content_type: str, on_progress: Progress | None
    ) -> None:
        if on_progress is not None:
            on_progress(0, len(data))
        self.put_bytes(data, bucket, key, content_type)
        if on_progress is not None:
            on_progress(len(data), len(data))


class _ChangedFileError(LibraryError):
    def __init__(self, path: Path, bucket: str, key: str) -> None:
        super().__init__(
            LibraryErrorCode.SOURCE_CHANGED,
            f"{path} was written to while it was being uploaded to {bucket}/{key}.",
            "Upload it again once it is complete.",
        )


def get_s3_client(settings: LibrarySettings | None = None) -> Any:
    """A boto3 client for S3, by `settings` or by the environment."""
    return build_s3_client(settings or LibrarySettings.load())


@functools.cache
def default_storage() -> LibraryStorage:
    """The storage that the environment names, when this is first called."""
    return LibraryStorage(LibrarySettings.load())


def list_objects(
    bucket: str, prefix: str = "", extensions: Collection[str] | None = None
) -> Iterator[ObjectInfo]:
    """`ObjectClient.list_objects` of the default storage."""
    return default_storage().list_objects(bucket, prefix, extensions)


def download_file(bucket: str, key: str, path: Path, on_progress: Progress | None = None) -> ObjectInfo:
    """`LibraryStorage.download_file` of the default storage."""
    return default_storage().download_file(bucket, key, path, on_progress)


def download_to_temp(
    bucket: str, key: str, on_progress: Progress | None = None
) -> AbstractContextManager[Path]:
    """`LibraryStorage.download_to_temp` of the default storage."""
    return default_storage().download_to_temp(bucket, key, on_progress)


def upload_file(
    path: Path, bucket: str, key: str, content_type: str = "", on_progress: Progress | None = None
) -> ObjectInfo:
    """`LibraryStorage.upload_file` of the default storage."""
    return default_storage().upload_file(path, bucket, key, content_type, on_progress)


def get_presigned_url(bucket: str, key: str, method: Method = "GET", expires_s: int = 3_600) -> str:
    """`ObjectClient.get_presigned_url` of the default storage."""
    return default_storage().get_presigned_url(bucket, key, method, expires_s)


def __getattr__(name: str) -> str:
    if name == "BUCKET_IN":
        return default_storage().bucket_in
    if name == "BUCKET_OUT":
        return default_storage().bucket_out
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
