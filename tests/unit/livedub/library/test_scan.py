"""A listing against the catalogue: pure, in any order, in bounded memory."""

import tracemalloc
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.library.assets import KnownObject
from livedub.library.key_order import in_key_order
from livedub.library.object_keys import ObjectInfo
from livedub.library.scan import Verdict, compare, scan_bucket
from livedub.library.types import MAX_LISTED_FILES, BucketRole

NOON = datetime(2026, 1, 1, 12, 0, 0, 123_456, tzinfo=timezone.utc)

keys = st.text("ab/-.0~é\U0001f3ac\uffff\ud7ff\ue000", min_size=1, max_size=6)
etags = st.sampled_from(["e1", "e2"])


def stored(key: str, etag: str = "e1") -> ObjectInfo:
    return ObjectInfo(key, 7, etag, NOON)


def in_bytes_order(keys: Collection[str]) -> list[str]:
    return sorted(keys, key=str.encode)


@given(st.lists(st.tuples(keys, etags), max_size=40), st.integers(1, 7))
def test_a_listing_in_any_order_comes_in_the_order_of_bytes(listed: list[tuple[str, str]], run: int):
    ordered = list(in_key_order((stored(*one) for one in listed), run=run))
    assert [one.key for one in ordered] == in_bytes_order({key for key, _ in listed})
    assert {(one.key, one.etag) for one in ordered} <= set(listed)


def test_what_goes_through_files_comes_back_whole(tmp_path: Path):
    listed = [
        ObjectInfo(f"{number % 97}/ü 🎬 {number}\u2028.mp4", number, '"e', NOON) for number in range(1_000)
    ]
    ordered = list(in_key_order(iter(listed), run=300, folder=tmp_path))
    assert ordered == sorted(listed, key=lambda one: one.key.encode())
    assert list(tmp_path.iterdir()) == []


def test_a_listing_that_is_left_early_leaves_no_files(tmp_path: Path):
    ordered = in_key_order(
        (stored(f"{number:05}") for number in reversed(range(1_000))), run=100, folder=tmp_path
    )
    assert next(ordered).key == "00000"
    ordered.close()
    assert list(tmp_path.iterdir()) == []


@given(
    st.dictionaries(keys, etags, max_size=15),
    st.dictionaries(keys, st.tuples(etags, st.booleans()), max_size=15),
)
def test_a_comparison_says_of_each_key_what_is_to_be_done(
    listed: dict[str, str], known: dict[str, tuple[str, bool]]
):
    verdicts = {
        what if isinstance(what, str) else what.key: verdict
        for verdict, what in compare(
            [stored(key, listed[key]) for key in in_bytes_order(listed)],
            [KnownObject(key, *known[key]) for key in in_bytes_order(known)],
        )
    }
    expected: dict[str, Verdict] = {}
    for key in {*listed, *known}:
        etag, gone = known.get(key, ("", True))
        if key not in listed:
            if not gone:
                expected[key] = Verdict.GONE
        elif gone:
            expected[key] = Verdict.NEW
        else:
            expected[key] = Verdict.SAME if listed[key] == etag else Verdict.CHANGED
    assert verdicts == expected


class Sized:
    """A bucket and its catalogue of any size, neither of which is kept in memory."""

    def __init__(self, listed: int, known: int) -> None:
        self.listed, self.known_rows = listed, known
        self.entered = self.gone = 0

    def list_objects(
        self, bucket: str, prefix: str = "", extensions: Collection[str] | None = None
    ) -> Iterator[ObjectInfo]:
        return (stored(f"{number:08}.mp4") for number in range(self.listed))

    def moment(self) -> datetime:
        return NOON

    def known(self, bucket: BucketRole, prefix: str, after: str, limit: int) -> Sequence[KnownObject]:
        start = int(after[:8]) + 1 if after else 0
        stop = min(start + limit, self.known_rows)
        return [KnownObject(f"{number:08}.mp4", "e1", gone=False) for number in range(start, stop)]

    def enter(
        self, bucket: BucketRole, objects: Sequence[ObjectInfo], *, listed_since: datetime
    ) -> Collection[str]:
        self.entered += len(objects)
        return [one.key for one in objects]

    def mark_gone(self, bucket: BucketRole, keys: Sequence[str], *, listed_since: datetime) -> int:
        self.gone += len(keys)
        return len(keys)


@pytest.mark.parametrize(("listed", "known"), [(12_345, 0), (0, 12_345), (12_345, 12_000), (5_000, 5_000)])
def test_numbers_add_up_over_many_pages(listed: int, known: int):
    both = Sized(listed, known)
    heard: list[int] = []
    result = scan_bucket(both, both, bucket_name="b", on_listed=heard.append)
    assert (result.found, result.registered, result.gone) == (
        listed,
        max(0, listed - known),
        max(0, known - listed),
    )
    assert result.skipped == listed - result.registered
    assert (both.entered, both.gone) == (result.registered, result.gone)
    assert len(result.files) == min(MAX_LISTED_FILES, result.registered)
    assert heard == sorted(heard)
    assert heard[-1] == listed


def test_ten_times_the_keys_need_no_more_memory():
    def peak_bytes(listed: int) -> int:
        both = Sized(listed, 0)
        tracemalloc.start()
        try:
            ordered = in_key_order(both.list_objects("b"), run=250)
            assert sum(1 for _ in compare(ordered, iter(()))) == listed
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak_bytes(20_000) < peak_bytes(2_000) * 1.5
