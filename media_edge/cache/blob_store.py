"""Objects on a local disk: `<data_dir>/media/<shard>/<hash>.<variant>`, whole or not there.

A blob is written to a file without a name (O_TMPFILE), forced to the disk (fdatasync or what is the same to one write,
RWF_DSYNC) and only then linked to its name: whatever dies when, a name never stands for half an object. A name that exists already is replaced by renaming
a second link over it. Such a link lies in `staging` for a moment; one that a killed process left there is swept at
the next start. The folder entry itself is not forced out: a power cut may lose the newest objects of a cache, never
damage one.

`staging` is closed to everybody else, so the web server that reads `media` cannot serve from it.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import stat
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from livedub.errors import ConfigurationError, LivedubError
from livedub.media_cache.key import ObjectPath

_MEDIA = "media"
_STAGING = "staging"
_OWNER_LOCK = ".owner"
_SHARDS = tuple(f"{number:02x}" for number in range(256))
_MODE = 0o644
_MOST_PIECES = 1_024
"""IOV_MAX of limits.h."""
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class DiskFullError(LivedubError):
    """The volume, or the quota on it, has no room; what was there is as it was."""


class StoreGoneError(LivedubError):
    """The volume under the store was unmounted or replaced."""


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """Room on the volume."""

    free_bytes: int
    total_bytes: int


class StagedBlob:
    """A blob that nobody sees yet. One thread at a time works on it; `close` may come from another."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self.size_bytes = 0

    @property
    def open(self) -> bool:
        """Whether `close` has something to let go of."""
        return self._fd >= 0

    def write(self, pieces: Sequence[bytes], *, durably: bool = False) -> None:
        """Append; `durably` forces all that was ever appended to the disk.

        Raises:
            DiskFullError: there is no room (file systems that allocate late say it when they are forced).
        """
        with self._lock, _disk_full_told():
            if durably and self.size_bytes == 0 and 0 < len(pieces) <= _MOST_PIECES:
                # One call for both: between calls a thread of ours has to queue for the interpreter.
                wanted = sum(map(len, pieces))
                if os.pwritev(self._fd, pieces, 0, os.RWF_DSYNC) == wanted:
                    self.size_bytes = wanted
                    return
            for piece in pieces:
                self._append(piece)
            if durably:
                os.fdatasync(self._fd)

    def _append(self, piece: bytes) -> None:
        rest = memoryview(piece)
        while rest:
            written = os.pwrite(self._fd, rest, self.size_bytes)
            self.size_bytes += written
            rest = rest[written:]

    def link(self, name: str, folder: int) -> None:
        """Give the blob a name in the folder with descriptor `folder`.

        Raises:
            FileExistsError: the name is taken.
            DiskFullError: there is no room for a folder entry.
        """
        with self._lock, _disk_full_told():
            os.link(f"/proc/self/fd/{self._fd}", name, dst_dir_fd=folder, follow_symlinks=True)

    def has_mode(self, mode: int) -> bool:
        """Whether the blob has these permissions."""
        return stat.S_IMODE(os.fstat(self._fd).st_mode) == mode

    def close(self) -> None:
        """Let go; without a name its bytes are gone. Again is fine."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def __enter__(self) -> StagedBlob:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class BlobStore:
    """The objects under one folder, owned by one process at a time. Methods may be called from any thread."""

    def __init__(self, data_dir: Path, *, require_mount: bool = False) -> None:
        """Take the folder, make what is missing in it and sweep what a killed process left.

        Raises:
            ConfigurationError: it is no mount point though it must be one, cannot be written, its file system
                cannot stage (O_TMPFILE), or another process owns it.
        """
        if require_mount and not os.path.ismount(data_dir):
            raise ConfigurationError(
                f"MEDIA_DATA_DIR {data_dir} is not a mount point.",
                remedy="Mount the volume there, or set MEDIA_REQUIRE_MOUNT=false to write to the disk below it.",
            )
        self._data_dir = data_dir
        self._numbers = itertools.count()
        self._umasked = False
        self._fds: list[int] = []
        try:
            self._open(data_dir)
        except OSError as error:
            self.close()
            raise ConfigurationError(
                f"MEDIA_DATA_DIR {data_dir} cannot be used: {error.strerror}.",
                remedy="Give the service a folder on a local file system (ext4, XFS) that it may write.",
            ) from error
        except BaseException:
            self.close()
            raise

    def _open(self, data_dir: Path) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self._device = data_dir.stat().st_dev
        for name, mode in ((_MEDIA, 0o755), (_STAGING, 0o700)):
            (data_dir / name).mkdir(mode=mode, exist_ok=True)
        # Whatever umask said: the web server reads one and must not read the other.
        (data_dir / _MEDIA).chmod(0o755)
        (data_dir / _STAGING).chmod(0o700)
        self._media = self._folder(data_dir / _MEDIA)
        self._staging = self._folder(data_dir / _STAGING)
        self._own()
        self.swept = self._sweep()
        with self.stage() as probe:
            self._umasked = not probe.has_mode(_MODE)
        self._shards = {shard: self._shard(shard) for shard in _SHARDS}

    def _folder(self, path: Path | str, *, inside: int | None = None) -> int:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=inside)
        self._fds.append(fd)
        return fd

    def _shard(self, shard: str) -> int:
        with suppress(FileExistsError):
            os.mkdir(shard, 0o755, dir_fd=self._media)
        fd = self._folder(shard, inside=self._media)
        os.fchmod(fd, 0o755)
        return fd

    def _own(self) -> None:
        lock = os.open(_OWNER_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=self._staging)
        self._fds.append(lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"MEDIA_DATA_DIR {self._data_dir} belongs to another upload service that runs.",
                remedy="Stop that one, or choose another folder.",
            ) from None

    def _sweep(self) -> int:
        orphans = [entry.name for entry in os.scandir(self._staging) if entry.name != _OWNER_LOCK]
        for name in orphans:
            os.unlink(name, dir_fd=self._staging)
        return len(orphans)

    def stage(self) -> StagedBlob:
        """Begin a blob.

        Raises:
            DiskFullError: there is no room, not even for an empty file.
        """
        with _disk_full_told():
            flags = os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC
            fd = os.open(".", flags, _MODE, dir_fd=self._staging)
            if self._umasked:
                os.fchmod(fd, _MODE)
        return StagedBlob(fd)

    def publish(self, blob: StagedBlob, path: ObjectPath) -> bool:
        """Put a staged and synced blob in its place; whether the place was empty.

        Raises:
            DiskFullError: there is no room for a folder entry; an object that was there is still there.
        """
        folder = self._shards[path.shard]
        name = _file_name(path)
        try:
            blob.link(name, folder)
        except FileExistsError:
            beside = f"{os.getpid()}-{next(self._numbers)}"
            blob.link(beside, self._staging)
            try:
                os.rename(beside, name, src_dir_fd=self._staging, dst_dir_fd=folder)
            except BaseException:
                os.unlink(beside, dir_fd=self._staging)
                raise
            return False
        return True

    def delete(self, path: ObjectPath) -> bool:
        """Remove an object; whether there was one."""
        try:
            os.unlink(_file_name(path), dir_fd=self._shards[path.shard])
        except FileNotFoundError:
            return False
        return True

    def disk(self) -> DiskSpace:
        """How much room the volume has for us."""
        status = os.fstatvfs(self._media)
        return DiskSpace(status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize)

    def check(self) -> None:
        """See that the folder is still the one that was opened.

        Raises:
            StoreGoneError: it is gone, unmounted, or another volume lies over it.
        """
        try:
            present = (self._data_dir / _MEDIA).stat()
        except OSError as error:
            raise StoreGoneError(f"{self._data_dir} is gone: {error.strerror}.") from None
        opened = os.fstat(self._media)
        if (present.st_dev, present.st_ino) != (opened.st_dev, opened.st_ino):
            raise StoreGoneError(
                f"{self._data_dir} is not the folder that was opened at the start.",
                remedy="Restart the upload service once the right volume is mounted.",
            )

    def close(self) -> None:
        """Let go of the folder."""
        while self._fds:
            os.close(self._fds.pop())


def _file_name(path: ObjectPath) -> str:
    return f"{path.hash}.{path.variant.value}"


class _disk_full_told:  # noqa: N801 - reads as a phrase in a with statement
    """Turns the errors that say "no room" into DiskFullError."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            raise DiskFullError("The volume is full.", remedy="Free space on it.") from error
