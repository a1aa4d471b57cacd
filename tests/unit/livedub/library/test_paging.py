"""Cursors and prefixes."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.paging import cursor_of, end_of_prefix, like, position_of


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_a_cursor_brings_back_what_was_packed(position: list[str]):
    cursor = cursor_of(*position)
    assert list(position_of(cursor, len(position))) == position
    assert cursor.isascii()
    assert not set(cursor) & set("+/=&?# ")


@given(st.text())
@example("W10")
@example("WzFd")
@example("[" * 4_000)
def test_what_is_no_cursor_is_refused(text: str):
    with pytest.raises(LibraryError) as refused:
        position_of(text, 2)
    assert refused.value.code is LibraryErrorCode.INVALID_REQUEST


def test_a_cursor_of_another_list_is_refused():
    with pytest.raises(LibraryError):
        position_of(cursor_of("in", "a", "b"), 2)


characters = st.characters(exclude_categories=["Cs"])


@given(st.text(characters, min_size=1, max_size=4), st.text(characters, max_size=4))
@example("a\U0010ffff", "b")
@example("\U0010ffff", "b")
@example("a\ud7ff", "b")
def test_the_end_of_a_prefix_lies_above_all_that_begin_with_it(prefix: str, rest: str):
    end = end_of_prefix(prefix)
    if end is None:
        assert set(prefix) == {"\U0010ffff"}
        return
    assert (prefix + rest).encode() < end.encode()
    assert not end.startswith(prefix)


@given(st.text(characters, min_size=1, max_size=4), st.text(characters, min_size=1, max_size=4))
def test_what_lies_between_a_prefix_and_its_end_begins_with_it(prefix: str, other: str):
    end = end_of_prefix(prefix)
    if prefix <= other and (end is None or other < end):
        assert other.startswith(prefix.rstrip("\U0010ffff"))


def test_no_prefix_has_no_end():
    assert end_of_prefix("") is None


def test_a_search_is_taken_to_the_letter():
    assert like("50%_\\") == "%50\\%\\_\\\\%"
