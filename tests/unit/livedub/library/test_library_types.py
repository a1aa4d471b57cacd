"""What requests and presets may say."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from livedub.library.types import (
    JOB_REQUEST,
    DubRequest,
    JobEvent,
    JobState,
    PageRequest,
    Preset,
    TranscodeRequest,
    TrimRequest,
)

DUB = {"targets": [{"language": "es", "voice": "es/ef_dora"}, {"language": "fr"}]}


@pytest.mark.parametrize(
    ("kind", "parameters", "made"),
    [
        ("transcode", {"preset": "hls"}, TranscodeRequest),
        ("trim", {"start_ms": 0, "end_ms": 1}, TrimRequest),
        ("dub", DUB, DubRequest),
    ],
)
def test_the_kind_tells_what_a_request_is(kind: str, parameters: dict[str, Any], made: type):
    asked = JOB_REQUEST.validate_python({"kind": kind, "source_key": "a.mp4", "parameters": parameters})
    assert type(asked) is made
    assert JOB_REQUEST.validate_json(asked.model_dump_json()) == asked


@pytest.mark.parametrize(
    ("kind", "parameters", "about"),
    [
        ("burn", {}, "kind"),
        ("trim", {"preset": "hls"}, "preset"),
        ("trim", {"start_ms": 5, "end_ms": 5}, "after start_ms"),
        ("trim", {"start_ms": -1, "end_ms": 5}, "start_ms"),
        ("trim", {"start_ms": 0, "end_ms": 10**12}, "end_ms"),
        ("trim", {"start_ms": 0, "end_ms": 1.5}, "end_ms"),
        ("transcode", {"preset": "../x"}, "preset"),
        ("transcode", {"preset": ""}, "preset"),
        ("dub", {"targets": []}, "targets"),
        ("dub", {"targets": [{"language": "es"}, {"language": "es"}]}, "twice"),
        ("dub", {"targets": [{"language": "fr", "voice": "es/ef_dora"}]}, "does not speak"),
        ("dub", {**DUB, "source_language": "English"}, "source_language"),
        ("dub", {**DUB, "lipsync": True}, "lipsync"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(kind: str, parameters: dict[str, Any], about: str):
    with pytest.raises(ValidationError, match=about):
        JOB_REQUEST.validate_python({"kind": kind, "source_key": "a.mp4", "parameters": parameters})


@pytest.mark.parametrize("limit", [0, -1, 201, 10**9])
def test_a_page_has_its_bounds(limit: int):
    with pytest.raises(ValidationError, match="limit"):
        PageRequest(limit=limit)


@pytest.mark.parametrize(
    ("fields", "about"),
    [
        ({"container": "mp4"}, "video, audio or both"),
        ({"container": "m4a", "video": {"max_height": 720, "max_bitrate_kbps": 900}}, "no video"),
        ({"container": "mp4", "audio": {"codec": "mp3"}}, "codec"),
        ({"container": "mp4", "video": {"max_height": 1, "max_bitrate_kbps": 900}}, "max_height"),
        (
            {"container": "mp4", "video": {"max_height": 720, "max_bitrate_kbps": 900, "quality": 52}},
            "quality",
        ),
    ],
)
def test_a_preset_that_makes_no_sense_is_refused(fields: dict[str, Any], about: str):
    with pytest.raises(ValidationError, match=about):
        Preset.model_validate({"name": "x", **fields})


def test_times_are_told_in_utc():
    at = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    event = JobEvent.model_validate(
        {
            "job_id": "00000000-0000-0000-0000-000000000001",
            "number": 1,
            "at": at,
            "state": "PENDING",
            "attempt": 0,
            "submission": 1,
        }
    )
    assert event.state is JobState.PENDING
    assert '"at":"2026-01-01T10:00:00Z"' in event.model_dump_json()


def test_a_time_without_a_zone_is_none():
    with pytest.raises(ValidationError, match="at"):
        JobEvent.model_validate({"at": datetime(2026, 1, 1)})  # noqa: DTZ001 - the point
