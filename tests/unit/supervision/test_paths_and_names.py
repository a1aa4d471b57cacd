import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.errors import InvalidInputError
from livedub.supervision.naming import execution_name, next_execution_name, successor_name
from livedub.supervision.paths import parse_path
from tests.unit.supervision.given import on, running

STREAM_IDS = st.from_regex(r"\A[A-Za-z0-9_-]{1,64}\Z")


@given(STREAM_IDS, st.sampled_from(["in", "out", "out-de", "out-fil"]))
def test_a_path_is_taken_apart_and_put_together_again(stream_id: str, name: str):
    path = parse_path(f"live/{stream_id}/{name}")
    assert (path.stream_id, path.name, path.is_input) == (stream_id, name, name == "in")
    assert str(path) == f"live/{stream_id}/{name}"
    assert parse_path(f"/live/{stream_id}/{name}") == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "live",
        "live/s1",
        "live/s1/",
        "live//in",
        "live/s1/in/",
        "live/s1/in\n",
        "live/s1\n/in",
        "live/s1/IN",
        "live/s1/out-",
        "live/s1/out-DE",
        "live/s1/out-german",
        "live/s1/index",
        "Live/s1/in",
        "//live/s1/in",
        "live/../in",
        "live/s 1/in",
        "live/s%31/in",
        "live/sß/in",
        "live/s1/in?key=x",
        "live/s1/in\x00",
        f"live/{'s' * 65}/in",
    ],
)
def test_what_is_no_stream_is_refused(path: str):
    with pytest.raises(InvalidInputError, match="Use live/<stream_id>/in"):
        parse_path(path)


@given(st.text(max_size=100))
def test_nothing_else_gets_through(text: str):
    try:
        path = parse_path(text)
    except InvalidInputError:
        return
    assert str(path) == text.removeprefix("/")
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", path.stream_id)


@given(STREAM_IDS, st.text(), st.text())
def test_names_are_what_step_functions_takes(stream_id: str, source_id: str, salt: str):
    name = execution_name(stream_id, source_id, salt=salt)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name)
    assert name == execution_name(stream_id, source_id, salt=salt)


def test_names_tell_streams_sources_and_generations_apart():
    long = "s" * 63
    assert execution_name(f"{long}a", "x") != execution_name(f"{long}b", "x")
    assert execution_name("s1", "x") != execution_name("s1", "y")
    assert next_execution_name(on()) != next_execution_name(running())
    assert next_execution_name(on(), salt="1") != next_execution_name(on())
    assert successor_name("s1", "e1") == successor_name("s1", "e1") != successor_name("s1", "e2")
