"""Which state may follow which, and where a result goes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.library.jobs import FINISHED, LEGAL, may_follow, output_key_of
from livedub.library.presets import BUILT_IN
from livedub.library.types import JOB_REQUEST, Container, JobState


def request(
    kind: str, parameters: dict[str, Any], source: str = "shows/one.mkv", output: str | None = None
) -> Any:
    return JOB_REQUEST.validate_python(
        {"kind": kind, "source_key": source, "output_key": output, "parameters": parameters}
    )


def test_every_state_has_its_rule():
    assert set(LEGAL) == set(JobState)


def test_a_result_is_for_ever():
    assert LEGAL[JobState.COMPLETED] == frozenset()


def test_what_ended_can_only_be_tried_again():
    for state in FINISHED - {JobState.COMPLETED}:
        assert LEGAL[state] == {JobState.PENDING}


def test_no_state_follows_itself():
    assert not any(may_follow(state, state) for state in JobState)


def test_a_result_comes_from_work():
    assert [state for state in JobState if may_follow(state, JobState.COMPLETED)] == [JobState.PROCESSING]


@pytest.mark.parametrize(
    ("kind", "parameters", "source", "output"),
    [
        ("transcode", {"preset": "web-1080p"}, "shows/one.mkv", "shows/one.web-1080p.mp4"),
        ("transcode", {"preset": "audio-only"}, "one.mkv", "one.audio-only.m4a"),
        ("transcode", {"preset": "hls"}, "shows/one.mkv", "shows/one.hls/index.m3u8"),
        ("trim", {"start_ms": 0, "end_ms": 1_500}, "one.tar.MP4", "one.tar.0-1500.MP4"),
        ("trim", {"start_ms": 5, "end_ms": 9, "exact": True}, "a/b.mp3", "a/b.5-9.exact.mp3"),
        ("dub", {"targets": [{"language": "es"}, {"language": "fr"}]}, "a.mkv", "a.dub.es-fr.mp4"),
        ("dub", {"targets": [{"language": "es"}]}, "a.FLAC", "a.dub.es.m4a"),
    ],
)
def test_a_result_lies_where_its_source_does_and_says_what_it_is(
    kind: str, parameters: dict[str, Any], source: str, output: str
):
    preset = BUILT_IN.get(parameters.get("preset", ""))
    assert output_key_of(request(kind, parameters, source), preset) == output


def test_a_place_that_was_asked_for_is_taken():
    asked = request("transcode", {"preset": "hls"}, output="there.m3u8")
    assert output_key_of(asked, BUILT_IN["hls"]) == "there.m3u8"


@given(st.integers(0, 9_999), st.integers(10_000, 99_999), st.booleans())
def test_different_cuts_have_different_places(start_ms: int, end_ms: int, exact: bool):
    cut = {"start_ms": start_ms, "end_ms": end_ms, "exact": exact}
    other = cut | {"end_ms": end_ms + 1}
    inexact = cut | {"exact": not exact}
    assert len({output_key_of(request("trim", one), None) for one in (cut, other, inexact)}) == 3


def test_presets_are_found_under_their_names_and_make_sense():
    assert set(BUILT_IN) == {"web-1080p", "web-720p", "audio-only", "hls"}
    for name, preset in BUILT_IN.items():
        assert preset.name == name
        assert preset.description
        assert preset.audio is not None
        assert (preset.video is None) == (preset.container is Container.M4A)
