import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from livedub.errors import LivedubError
from livedub.media_cache.catalogue_port import CacheEntry
from livedub.media_cache.key import Variant
from livedub.media_cache.wire import AudioVariant
from media_edge.cache.row_writer import RowWriter

BOUND_S = 60.0


def entry(name: str, variant: Variant = Variant.ALAW) -> CacheEntry:
    return CacheEntry(name, name, "es/a", "m", 100, AudioVariant.of(variant, 8_000))


class SlowCatalogue:
    """Holds every statement until it is let go, and refuses rows by name."""

    def __init__(self) -> None:
        self.statements: list[list[CacheEntry]] = []
        self.refused: set[str] = set()
        self.go = threading.Event()
        self.held = threading.Semaphore(0)

    def record(self, entries: Sequence[CacheEntry]) -> None:
        self.held.release()
        assert self.go.wait(BOUND_S)
        if any(one.hash in self.refused for one in entries):
            raise LivedubError("a row is locked")
        self.statements.append(list(entries))

    def forget(self, key: str, encoding: Variant) -> None: ...

    def ready(self) -> bool:
        return True

    def close(self) -> None: ...


@pytest.fixture
def catalogue():
    return SlowCatalogue()


def crowd(catalogue: SlowCatalogue, names: Sequence[str], pool: ThreadPoolExecutor):
    """Two rows under way, and the named ones waiting behind them."""
    writer = RowWriter(catalogue)
    first = [pool.submit(writer.record, entry(name)) for name in ("first", "second")]
    for _ in first:
        assert catalogue.held.acquire(timeout=BOUND_S)
    waiting = [pool.submit(writer.record, entry(name)) for name in names]
    ready = threading.Event()
    end = threading.Timer(BOUND_S, ready.set)
    end.start()
    while len(writer._waiting) < len(names) and not ready.is_set():
        ready.wait(0.001)
    end.cancel()
    catalogue.go.set()
    return first, waiting


def test_a_row_alone_is_entered_at_once(catalogue: SlowCatalogue):
    catalogue.go.set()
    RowWriter(catalogue).record(entry("a"))
    assert catalogue.statements == [[entry("a")]]


def test_who_comes_while_others_are_busy_is_entered_together(catalogue: SlowCatalogue):
    names = [f"row {number}" for number in range(20)]
    with ThreadPoolExecutor(30) as pool:
        first, waiting = crowd(catalogue, names, pool)
        for future in (*first, *waiting):
            future.result(BOUND_S)
    entered = [one.hash for rows in catalogue.statements for one in rows]
    assert sorted(entered) == sorted(["first", "second", *names])
    assert len(catalogue.statements) <= 2 + 2


def test_one_statement_never_holds_a_key_twice(catalogue: SlowCatalogue):
    with ThreadPoolExecutor(30) as pool:
        _, waiting = crowd(catalogue, ["same"] * 6 + ["other"], pool)
        for future in waiting:
            future.result(BOUND_S)
    assert sum(len(rows) for rows in catalogue.statements) == 9
    for rows in catalogue.statements:
        assert len({one.hash for one in rows}) == len(rows)


def test_a_row_that_is_refused_fails_alone(catalogue: SlowCatalogue):
    catalogue.refused = {"locked"}
    names = ["a", "b", "locked", "c"]
    with ThreadPoolExecutor(30) as pool:
        _, waiting = crowd(catalogue, names, pool)
        errors = {name: future.exception(BOUND_S) for name, future in zip(names, waiting, strict=True)}
    assert {name for name, error in errors.items() if error} == {"locked"}
    assert isinstance(errors["locked"], LivedubError)
    assert {one.hash for rows in catalogue.statements for one in rows} == {"first", "second", "a", "b", "c"}


def test_nothing_is_left_waiting_after_a_long_crowd(catalogue: SlowCatalogue):
    catalogue.go.set()
    catalogue.refused = {"7"}
    writer = RowWriter(catalogue)

    def refused(name: str) -> bool:
        try:
            writer.record(entry(name))
        except LivedubError:
            return True
        return False

    def many(number: int) -> int:
        return sum(refused(str(number % 10)) for _ in range(50))

    with ThreadPoolExecutor(16) as pool:
        failed = list(pool.map(many, range(16), timeout=BOUND_S))
    assert [count for number, count in enumerate(failed) if number % 10 != 7] == [0] * 15
    assert failed[7] == 50
    assert sum(len(rows) for rows in catalogue.statements) == 15 * 50
