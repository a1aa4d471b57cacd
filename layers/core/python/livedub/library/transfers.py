"""Moving large files in pieces: downloads that go on where they stopped and appear whole or not at all.

Pieces are fetched side by side into a file beside the target, which carries its own record of what it holds behind
the data: one byte per piece, then what it is a copy of. The last step cuts the record off and renames the file. A
download that is begun again, also by another process, takes up what fits; two at once do not share.
"""

from __future__ import annotations

import base64
import errno
import fcntl
import hashlib
import json
import os
import shutil
import threading
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from livedub.library.library_errors import DiskFullError

Progress = Callable[[int, int], None]
"""Hears how many bytes of how many are done; always from the thread that asked. What it raises ends the transfer."""
FetchRange = Callable[[int, int], Iterable[bytes]]
"""The bytes from the first position up to, not including, the second."""

MIB = 1024 * 1024
WORKERS = 8
_MAX_PIECES = 10_000
"""S3's limit for the parts of an upload."""
_TICK_S = 0.1
_MARK = b"\1"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes `start` up to, not including, `end` of a file."""

    number: int
    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        """Its length."""
        return self.end - self.start


def pieces_of(size_bytes: int, piece_bytes: int) -> list[Piece]:
    """Cut a file of `size_bytes` into pieces of `piece_bytes`; larger ones where there would be over 10,000."""
    least_bytes = -(-size_bytes // _MAX_PIECES)
    step = max(piece_bytes, -(-least_bytes // MIB) * MIB if least_bytes > piece_bytes else 0)
    starts = range(0, size_bytes, step)
    return [Piece(number, start, min(start + step, size_bytes)) for number, start in enumerate(starts)]


def require_space(folder: Path, needed_bytes: int) -> None:
    """Check that `folder` has room.

    Raises:
        DiskFullError: it has not.
    """
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise DiskFullError(folder, needed_bytes=needed_bytes, free_bytes=free_bytes)


@contextmanager
def disk_errors(folder: Path) -> Generator[None]:
    """Turn "no space left" into the library's error.

    Raises:
        DiskFullError: the disk, or the share of it that we may use, is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFullError(folder) from error
        raise


def download(
    fetch: FetchRange,
    target: Path,
    *,
    size_bytes: int,
    identity: str,
    piece_bytes: int,
    on_progress: Progress | None = None,
) -> int:
    """Fetch `size_bytes` into `target`, which is replaced at the end in one step.

    Args:
        fetch: gives the bytes of a range; called from several threads.
        target: the file to make; its folder must exist.
        size_bytes: of the whole.
        identity: names the content (bucket, key, ETag). Pieces of an earlier try count only for the same one.
        piece_bytes: what one call of `fetch` is asked for at most.
        on_progress: see `Progress`.

    Returns:
        how many bytes an earlier try had left for this one.

    Raises:
        DiskFullError: there is no room for it.
        Whatever `fetch` and `on_progress` raise. What has come stays for the next try.
    """
    pieces = pieces_of(size_bytes, piece_bytes)
    with disk_errors(target.parent):
        partial = PartialFile.claim(target, identity, size_bytes, len(pieces))
        try:
            missing = [piece for piece in pieces if not partial.holds(piece)]
            resumed_bytes = size_bytes - sum(piece.size_bytes for piece in missing)

            def work(piece: Piece, tally: Tally) -> None:
                position = piece.start
                for data in fetch(piece.start, piece.end):
                    tally.check()
                    position += partial.write(data, position)
                    tally.add(len(data))
                if position != piece.end:
                    raise ConnectionError(f"{position - piece.start} of {piece.size_bytes} bytes came")
                partial.mark(piece)

            run_side_by_side(missing, work, size_bytes, resumed_bytes, on_progress)
            partial.finish()
        finally:
            partial.close()
    return resumed_bytes


class PartialFile:
    """A file that is being filled, with the record of what it holds behind its data; see the module's description."""

    def __init__(
        self, path: Path, target: Path, fd: int, size_bytes: int, held: bytearray, *, kept: bool
    ) -> None:
        self._path = path
        self._target = target
        self._fd = fd
        self._size_bytes = size_bytes
        self._held = held
        self._kept = kept

    @classmethod
    def claim(cls, target: Path, identity: str, size_bytes: int, count: int) -> PartialFile:
        """Take up what an earlier try left beside `target`, or begin anew; nobody else writes to it meanwhile.

        Raises:
            DiskFullError: there is no room for the whole.
            OSError: the folder cannot be written.
        """
        # Names of files have at most 255 bytes; keys may have more.
        stem = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
        path = target.with_name(f".{stem}.livedub-part")
        fd = _open_locked(path)
        kept = fd is not None
        if fd is None:  # somebody else downloads the same right now
            path = target.with_name(f".{stem}.{os.getpid()}-{threading.get_ident()}.livedub-part")
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            held = _reopen(fd, _record(identity, size_bytes, count), size_bytes, count, path.parent)
        except BaseException:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        return cls(path, target, fd, size_bytes, held, kept=kept)

    def holds(self, piece: Piece) -> bool:
        """Whether the piece is all there."""
        return self._held[piece.number] == _MARK[0]

    def write(self, data: bytes, position: int) -> int:
        """Put `data` at `position`; returns its length."""
        view = memoryview(data)
        written = 0
        while written < len(view):
            written += os.pwrite(self._fd, view[written:], position + written)
        return written

    def mark(self, piece: Piece) -> None:
        """Record that the piece is all there."""
        os.pwrite(self._fd, _MARK, self._size_bytes + piece.number)
        self._held[piece.number] = _MARK[0]

    def finish(self) -> None:
        """Make it the target."""
        os.ftruncate(self._fd, self._size_bytes)
        self._path.replace(self._target)
        self._kept = True

    def close(self) -> None:
        """Let go of the file; unless it is finished it stays for another try, where one would find it."""
        os.close(self._fd)
        if not self._kept:
            self._path.unlink(missing_ok=True)


def _open_locked(path: Path) -> int | None:
    """The file, made where there is none, locked for us; None when somebody else holds it."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        # Whoever held it may have finished: then the name is free, or another file's.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(fd), path.stat()):
                return fd
        os.close(fd)


def _record(identity: str, size_bytes: int, count: int) -> bytes:
    """What a file is a copy of. Pages that were not on the disk yet are lost when the machine goes down, so its
    record is good for one boot only.
    """  # noqa: D205 - one sentence on two lines
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    return json.dumps([1, identity, size_bytes, count, boot]).encode()


def _reopen(fd: int, record: bytes, size_bytes: int, count: int, folder: Path) -> bytearray:
    """What the file holds of what `record` names, after making it a copy of just that."""
    whole_bytes = size_bytes + count + len(record)
    if os.fstat(fd).st_size == whole_bytes and os.pread(fd, len(record), size_bytes + count) == record:
        return bytearray(os.pread(fd, count, size_bytes))
    os.ftruncate(fd, 0)
    require_space(folder, whole_bytes)
    os.posix_fallocate(fd, 0, whole_bytes)
    os.pwrite(fd, record, size_bytes + count)
    return bytearray(count)


class Tally:
    """How far several workers have come together, and whether they should go on; for any thread."""

    def __init__(self, done_bytes: int) -> None:
        self._lock = threading.Lock()
        self._done_bytes = done_bytes
        self._stopped = threading.Event()

    @property
    def done_bytes(self) -> int:
        """What is done."""
        with self._lock:
            return self._done_bytes

    def add(self, count: int) -> None:
        """So many bytes more are done; negative takes back what must be done again."""
        with self._lock:
            self._done_bytes += count

    def stop(self) -> None:
        """Nobody goes on."""
        self._stopped.set()

    def check(self) -> None:
        """Raise when nobody should go on."""
        if self._stopped.is_set():
            raise TransferStopped


class TransferStopped(Exception):  # noqa: N818 - it is the end of a worker's loop, no error
    """Another worker failed, or the caller wants no more."""


def run_side_by_side(
    pieces: Sequence[Piece],
    work: Callable[[Piece, Tally], None],
    size_bytes: int,
    done_bytes: int,
    on_progress: Progress | None,
) -> None:
    """Do `work` on every piece, several at once, and tell `on_progress`; the first failure ends all and is raised."""
    tally = Tally(done_bytes)
    reported = -1

    def report() -> None:
        nonlocal reported
        done = tally.done_bytes
        if on_progress is not None and done != reported:
            reported = done
            on_progress(done, size_bytes)

    report()
    pool = ThreadPoolExecutor(max_workers=max(1, min(WORKERS, len(pieces))), thread_name_prefix="transfer")
    try:
        pending: set[Future[None]] = {pool.submit(work, piece, tally) for piece in pieces}
        while pending:
            done, pending = wait(pending, timeout=_TICK_S, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
            report()
        report()
    finally:
        tally.stop()
        pool.shutdown(wait=True, cancel_futures=True)


def read_piece(fd: int, piece: Piece) -> bytes:
    """The bytes of a piece.

    Raises:
        EOFError: the file has become shorter.
    """
    data = os.pread(fd, piece.size_bytes, piece.start)
    while len(data) < piece.size_bytes:
        more = os.pread(fd, piece.size_bytes - len(data), piece.start + len(data))
        if not more:
            raise EOFError(f"the file ends at {piece.start + len(data)}, before {piece.end}")
        data += more
    return data


def md5_of(data: bytes) -> str:
    """What S3 calls the ETag of a part."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def crc32_of(data: bytes) -> str:
    """The CRC-32 as S3 writes it: big-endian, in base64."""
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode("ascii")


def files_below(folder: Path) -> Iterator[Path]:
    """Every regular file below `folder`, sorted; links are nobody's files."""
    yield from sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
