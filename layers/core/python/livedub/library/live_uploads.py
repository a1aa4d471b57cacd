"""Live meets library: what a generation of a stream leaves behind waits in a spool folder for its upload.

    <spool>/<stream_id>/<generation>/...    goes to    <bucket in>/live/<stream_id>/<generation>/...

Whoever writes holds a lock on the generation's folder, which the kernel lets go when the writer dies, however it
dies: a folder whose lock is free is complete, and is uploaded, now or after the next start. A file leaves the folder when
it has arrived, the folder when its prefix has been registered. So every step may be repeated, and none is forgotten.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from livedub.errors import LivedubError
from livedub.library.object_keys import live_prefix
from livedub.library.transfers import Progress, files_below

_LOCK = ".writer"
_STREAM_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

log = logging.getLogger(__name__)

Register = Callable[[str], None]
"""Tells the catalogue to look at everything below a prefix of the bucket of what comes in. Raises LivedubError."""


class Uploads(Protocol):
    """As much of the storage as is needed."""

    @property
    def bucket_in(self) -> str:
        """The bucket of what comes in."""
        ...

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
        """Store a file. Whoever leaves files need not be allowed to read any."""
        ...


@dataclass(frozen=True, slots=True)
class Leavings:
    """One generation's folder, ours until `release`."""

    stream_id: str
    generation: int
    folder: Path
    _lock_fd: int

    @property
    def prefix(self) -> str:
        """Where its files go."""
        return live_prefix(self.stream_id, self.generation)

    def files(self) -> list[Path]:
        """What lies there, in order."""
        return [path for path in files_below(self.folder) if path.name != _LOCK]

    def key_of(self, path: Path) -> str:
        """The key of one of its files. A worker puts subtitles into a folder of the stream's own name: left out."""
        relative = PurePosixPath(path.relative_to(self.folder).as_posix())
        parts = relative.parts
        if len(parts) > 1 and parts[0] == self.stream_id:
            parts = parts[1:]
        return f"{self.prefix}{'/'.join(parts)}"

    def release(self) -> None:
        """Nothing more will be written."""
        os.close(self._lock_fd)

    def remove(self) -> None:
        """Take the folder away, once it is empty; the stream's own, too, when this was its last generation."""
        for path in sorted(self.folder.rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            elif path.name != _LOCK:
                path.unlink()
        (self.folder / _LOCK).unlink()
        # Somebody may begin the next generation in this moment.
        with suppress(OSError):
            self.folder.rmdir()
            self.folder.parent.rmdir()


class LiveSpool:
    """The folder in which generations lie."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def claim(self, stream_id: str, generation: int) -> Leavings | None:
        """The folder of a generation, made where there is none; None while somebody else writes or uploads it.

        Raises:
            ValueError: that is no id of a stream, or no generation.
            OSError: the folder cannot be made.
        """
        if not _STREAM_ID.fullmatch(stream_id) or generation < 0:
            raise ValueError(f"{stream_id!r}, generation {generation}, is no stream")
        folder = self.folder / stream_id / str(generation)
        while True:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                lock_fd = _lock(folder / _LOCK, create=True)
            except FileNotFoundError:
                continue  # an uploader took it away in this moment
            if lock_fd is None:
                return None
            return Leavings(stream_id, generation, folder, lock_fd)

    def complete(self) -> Iterator[Leavings]:
        """Every generation that nobody writes any more, ours until released; the oldest first."""
        for folder in sorted(self._folders(), key=_age):
            with suppress(FileNotFoundError):
                lock_fd = _lock(folder / _LOCK, create=False)
                if lock_fd is not None:
                    yield Leavings(folder.parent.name, int(folder.name), folder, lock_fd)

    def waiting(self) -> int:
        """How many generations lie here, written or complete."""
        return sum(1 for _ in self._folders())

    def free_bytes(self) -> int:
        """What is free on its disk.

        Raises:
            OSError: the folder cannot be made.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self.folder).free

    def _folders(self) -> Iterator[Path]:
        for folder in self.folder.glob("*/*"):
            if folder.name.isdecimal() and _STREAM_ID.fullmatch(folder.parent.name) and folder.is_dir():
                yield folder


class LiveUploader:
    """Brings complete generations into the library."""

    def __init__(self, spool: LiveSpool, storage: Uploads, register: Register) -> None:
        self._spool = spool
        self._storage = storage
        self._register = register

    def upload_complete(self, on_progress: Progress | None = None) -> list[str]:
        """Upload and register every complete generation; the prefixes that are done.

        One that fails stays for the next call and does not keep the others. `on_progress` hears of each file's
        bytes; what it raises ends the call, with what has come so far kept.
        """
        return [leavings.prefix for leavings in self._spool.complete() if self._try(leavings, on_progress)]

    def _try(self, leavings: Leavings, on_progress: Progress | None) -> bool:
        try:
            self._upload(leavings, on_progress)
        except (LivedubError, OSError) as error:
            log.warning("%s stays here until the next try: %s", leavings.prefix, error)
            return False
        finally:
            leavings.release()
        return True

    def _upload(self, leavings: Leavings, on_progress: Progress | None) -> None:
        for path in leavings.files():
            if path.stat().st_size > 0:
                key = leavings.key_of(path)
                self._storage.store_file(
                    path, self._storage.bucket_in, key, on_progress=on_progress, resume=True
                )
            path.unlink()
        self._register(leavings.prefix)
        leavings.remove()
        log.info("%s is in the library", leavings.prefix)


def _age(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _lock(path: Path, *, create: bool) -> int | None:
    """An open file that holds the lock; None when somebody else does.

    Raises:
        FileNotFoundError: it is not there, or not any more.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
    lock_fd = os.open(path, flags, 0o644)
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock_fd), path.stat()):
            return lock_fd
    except BlockingIOError:
        os.close(lock_fd)
        return None
    except BaseException:
        os.close(lock_fd)
        raise
    os.close(lock_fd)
    raise FileNotFoundError(path)
