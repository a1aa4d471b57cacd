import pytest
from graphql import get_introspection_query
from hypothesis import given
from hypothesis import strategies as st

from livedub.library.api.graphql_limits import (
    MAX_DEPTH,
    MAX_FIELDS,
    MAX_TOKENS,
    check_query,
)
from livedub.library.library_errors import LibraryError, LibraryErrorCode


def nested(depth: int) -> str:
    return "{ a " * depth + "}" * depth


def code_of(query: str, name: str | None = None) -> LibraryErrorCode | None:
    try:
        check_query(query, name)
    except LibraryError as error:
        return error.code
    return None


@given(st.integers(1, 40))
def test_the_depth_of_a_query_is_bounded(depth: int):
    expected = None if depth <= MAX_DEPTH else LibraryErrorCode.QUERY_TOO_DEEP
    assert code_of(nested(depth)) is expected


@given(st.integers(1, 40))
def test_aliases_fragments_and_mutations_hide_no_depth(depth: int):
    expected = None if depth <= MAX_DEPTH else LibraryErrorCode.QUERY_TOO_DEEP
    spread = " ".join(f"fragment f{at} on Any {{ x: a {{ ...f{at + 1} }} }}" for at in range(depth - 1))
    for operation in ("query", "mutation"):
        query = f"{operation} {{ ...f0 }} {spread} fragment f{depth - 1} on Any {{ ... on Any {{ a }} }}"
        assert code_of(query) is expected


def test_the_deepest_of_several_operations_counts():
    query = "query a { a } query b " + nested(MAX_DEPTH + 1)
    assert code_of(query, "a") is LibraryErrorCode.QUERY_TOO_DEEP


@pytest.mark.parametrize(
    ("query", "name", "served"),
    [
        ("{ a }", None, True),
        ("query one { a }", None, True),
        ("query one { a } query two { a }", "two", True),
        ("query one { a } query two { a }", None, False),
        ("query one { a }", "two", False),
        ("{ a }", "one", False),
        ("fragment f on Query { a }", None, False),
        ("type Query { a: Int }", None, False),
    ],
)
def test_one_operation_is_meant(query: str, name: str | None, served: bool):
    assert code_of(query, name) is (None if served else LibraryErrorCode.INVALID_REQUEST)


def test_tools_may_ask_for_the_whole_schema():
    assert code_of(get_introspection_query(descriptions=True)) is None


def test_introspection_has_an_end_too():
    asked = "{ __schema { types " + "{ ofType " * 20 + "{ name }" + "}" * 20 + "}}"
    assert code_of(asked) is LibraryErrorCode.QUERY_TOO_DEEP


@given(st.integers(1, MAX_FIELDS * 2))
def test_the_number_of_fields_is_bounded(count: int):
    query = "{" + " ".join(f"a{at}" for at in range(count)) + "}"
    expected = None if count <= MAX_FIELDS else LibraryErrorCode.QUERY_TOO_LARGE
    assert code_of(query) is expected


def test_fragments_that_unfold_into_more_fields_than_anybody_can_count_are_measured_at_once():
    doubling = " ".join(f"fragment f{at} on Any {{ ...f{at + 1} ...f{at + 1} }}" for at in range(150))
    query = f"{{ ...f0 }} {doubling} fragment f150 on Any {{ a }}"
    assert code_of(query) is LibraryErrorCode.QUERY_TOO_LARGE


def test_a_fragment_that_spreads_itself_is_left_to_validation():
    assert code_of("{ ...f } fragment f on Query { a ...f }") is None


def test_words_are_counted_while_they_are_read():
    assert code_of("{" + " a" * MAX_TOKENS + "}") is LibraryErrorCode.QUERY_TOO_LARGE


@pytest.mark.parametrize("depth", [300, 900])
def test_what_is_nested_too_deeply_to_be_read_is_too_deep(depth: int):
    assert code_of(nested(depth)) in {LibraryErrorCode.QUERY_TOO_DEEP, LibraryErrorCode.QUERY_TOO_LARGE}


@pytest.mark.parametrize(
    "query", [" ", "{", "}", "{ a(", 'query "tokens. Parsing aborted."', "\x00", "{ a }}"]
)
def test_what_is_no_query_is_said_to_be_none(query: str):
    assert code_of(query) is LibraryErrorCode.INVALID_REQUEST


@given(st.text(max_size=200))
def test_any_text_gives_a_verdict(query: str):
    code_of(query)
