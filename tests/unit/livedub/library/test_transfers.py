"""Downloads in pieces, against a source that is a function."""

import errno
import os
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.library import transfers
from livedub.library.library_errors import DiskFullError
from livedub.library.transfers import MIB, PartialFile, Piece, download, pieces_of, read_piece

CONTENT = bytes(range(251)) * 40
PIECE = 1_000


class Source:
    """Gives ranges of CONTENT, counts them, and fails for those that begin where it should."""

    def __init__(self, content: bytes = CONTENT) -> None:
        self.content = content
        self.asked: list[int] = []
        self.fail_at: set[int] = set()
        self._lock = threading.Lock()

    def __call__(self, start: int, end: int) -> Iterator[bytes]:
        with self._lock:
            self.asked.append(start)
        yield self.content[start : min(end, start + 300)]
        if start in self.fail_at:
            raise ConnectionResetError
        yield self.content[start + 300 : end]


def fetch(
    source: Source, target: Path, *, identity: str = "one", on_progress: transfers.Progress | None = None
) -> int:
    return download(
        source,
        target,
        size_bytes=len(source.content),
        identity=identity,
        piece_bytes=PIECE,
        on_progress=on_progress,
    )


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.endswith(".livedub-part")]


def test_a_file_comes_whole(tmp_path: Path):
    source = Source()
    assert fetch(source, tmp_path / "a.mp4") == 0
    assert (tmp_path / "a.mp4").read_bytes() == CONTENT
    assert sorted(source.asked) == list(range(0, len(CONTENT), PIECE))
    assert leftovers(tmp_path) == []


def test_an_empty_one_too(tmp_path: Path):
    assert fetch(Source(b""), tmp_path / "a.mp4") == 0
    assert (tmp_path / "a.mp4").read_bytes() == b""


def test_a_name_of_255_bytes_is_no_problem(tmp_path: Path):
    fetch(Source(), tmp_path / ("n" * 255))
    assert (tmp_path / ("n" * 255)).read_bytes() == CONTENT


def test_what_was_there_stays_until_all_has_come(tmp_path: Path):
    target = tmp_path / "a.mp4"
    target.write_bytes(b"old")
    source = Source()
    source.fail_at = {3_000}
    with pytest.raises(ConnectionResetError):
        fetch(source, target)
    assert target.read_bytes() == b"old"


def test_a_second_try_asks_only_for_what_is_missing(tmp_path: Path):
    target = tmp_path / "a.mp4"
    broken = Source()
    broken.fail_at = {3_000}
    with pytest.raises(ConnectionResetError):
        fetch(broken, target)
    healthy = Source()
    resumed_bytes = fetch(healthy, target)
    assert target.read_bytes() == CONTENT
    assert 3_000 in healthy.asked
    assert resumed_bytes == len(CONTENT) - sum(min(PIECE, len(CONTENT) - start) for start in healthy.asked)
    assert leftovers(tmp_path) == []


def test_what_belongs_to_another_content_is_not_used(tmp_path: Path):
    target = tmp_path / "a.mp4"
    broken = Source()
    broken.fail_at = {9_000}
    with pytest.raises(ConnectionResetError):
        fetch(broken, target, identity="old etag")
    other = Source(bytes(reversed(CONTENT)))
    assert fetch(other, target, identity="new etag") == 0
    assert target.read_bytes() == other.content


def test_a_foreign_file_in_the_way_is_not_believed(tmp_path: Path):
    target = tmp_path / "a.mp4"
    broken = Source()
    broken.fail_at = {0}
    with pytest.raises(ConnectionResetError):
        fetch(broken, target)
    (left,) = leftovers(tmp_path)
    (tmp_path / left).write_bytes(os.urandom(len(CONTENT) + 200))
    assert fetch(Source(), target) == 0
    assert target.read_bytes() == CONTENT


def test_a_link_in_the_way_is_not_followed(tmp_path: Path):
    target, precious = tmp_path / "a.mp4", tmp_path / "precious"
    precious.write_bytes(b"precious")
    broken = Source()
    broken.fail_at = {0}
    with pytest.raises(ConnectionResetError):
        fetch(broken, target)
    (left,) = leftovers(tmp_path)
    (tmp_path / left).unlink()
    (tmp_path / left).symlink_to(precious)
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        fetch(Source(), target)
    assert precious.read_bytes() == b"precious"


def test_two_at_once_do_not_share(tmp_path: Path):
    target = tmp_path / "a.mp4"
    first = PartialFile.claim(target, "one", len(CONTENT), 11)
    try:
        assert fetch(Source(), target) == 0
        assert target.read_bytes() == CONTENT
        assert len(leftovers(tmp_path)) == 1
        failing = Source()
        failing.fail_at = {0}
        with pytest.raises(ConnectionResetError):
            fetch(failing, target)
        assert len(leftovers(tmp_path)) == 1, "nobody would find what the second one left"
    finally:
        first.close()


def test_progress_is_told_by_the_callers_thread_and_never_goes_back(tmp_path: Path):
    heard: list[tuple[int, int]] = []
    threads: set[int] = set()

    def hear(done_bytes: int, size_bytes: int) -> None:
        heard.append((done_bytes, size_bytes))
        threads.add(threading.get_ident())

    fetch(Source(), tmp_path / "a.mp4", on_progress=hear)
    assert heard[0] == (0, len(CONTENT))
    assert heard[-1] == (len(CONTENT), len(CONTENT))
    assert heard == sorted(heard)
    assert threads == {threading.get_ident()}


def test_whoever_listens_may_end_it(tmp_path: Path):
    class EnoughError(Exception):
        pass

    def hear(done_bytes: int, _size_bytes: int) -> None:
        if done_bytes > transfers.WORKERS * PIECE:  # so at least one piece is complete
            raise EnoughError

    with pytest.raises(EnoughError):
        fetch(Source(), tmp_path / "a.mp4", on_progress=hear)
    assert not (tmp_path / "a.mp4").exists()
    assert fetch(Source(), tmp_path / "a.mp4") > 0


def test_a_source_that_ends_early_is_an_error(tmp_path: Path):
    def short(start: int, end: int) -> Iterator[bytes]:
        yield CONTENT[start : end - 1]

    with pytest.raises(ConnectionError, match="999 of 1000 bytes"):
        download(short, tmp_path / "a", size_bytes=5_000, identity="", piece_bytes=PIECE)


def test_no_room_is_said_before_anything_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Usage:
        free = 100

    monkeypatch.setattr(transfers.shutil, "disk_usage", lambda _folder: Usage)
    source = Source()
    with pytest.raises(DiskFullError, match="100 are free"):
        fetch(source, tmp_path / "a.mp4")
    assert source.asked == []
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_meanwhile_is_said_too(tmp_path: Path):
    def full(_start: int, _end: int) -> Iterator[bytes]:
        yield b""
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DiskFullError):
        download(full, tmp_path / "a", size_bytes=10, identity="", piece_bytes=PIECE)


@given(st.integers(0, 10**14), st.integers(5 * MIB, 64 * MIB))
def test_pieces_cover_a_file_without_gap_or_overlap(size_bytes: int, piece_bytes: int):
    pieces = pieces_of(size_bytes, piece_bytes)
    assert len(pieces) <= 10_000
    assert sum(piece.size_bytes for piece in pieces) == size_bytes
    if pieces:
        assert pieces[0].start == 0
        assert pieces[-1].end == size_bytes
        assert [piece.number for piece in pieces] == list(range(len(pieces)))
        assert all(before.end == after.start for before, after in pairwise(pieces))
        assert all(piece.size_bytes >= piece_bytes for piece in pieces[:-1])


def test_a_file_that_became_shorter_is_noticed(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    with path.open("rb") as file:
        assert read_piece(file.fileno(), Piece(0, 1, 4)) == b"234"
        with pytest.raises(EOFError):
            read_piece(file.fileno(), Piece(0, 3, 9))
