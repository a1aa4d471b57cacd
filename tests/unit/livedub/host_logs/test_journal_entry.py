"""What becomes of lines of the journal: findable events without credentials."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from livedub.host_logs.journal_entry import EventMaker, parse_entry
from livedub.host_logs.log_event import LogEvent

TOKEN = "tok-5ecret-0123456789"  # noqa: S105 - none
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def line_of(message: Any, **fields: Any) -> bytes:
    found = {"__CURSOR": "s=1;i=2", "__REALTIME_TIMESTAMP": "1795317005796908", "MESSAGE": message}
    return json.dumps({**found, **fields}).encode()


def event_of(message: Any, **fields: Any) -> LogEvent:
    entry = parse_entry(line_of(message, **fields))
    assert entry is not None
    return EventMaker("i-1").event(entry)


def said(message: Any, **fields: Any) -> dict[str, Any]:
    return json.loads(event_of(message, **fields).message)


def test_a_line_of_text_is_an_object_that_can_be_searched():
    fields = {"_SYSTEMD_UNIT": "mediamtx.service", "PRIORITY": "4", "_PID": "7"}
    assert said("[RTMP] hello", **fields) == {
        "message": "[RTMP] hello",
        "host": "i-1",
        "unit": "mediamtx.service",
        "level": "warning",
        "pid": "7",
    }
    assert event_of("x").timestamp_ms == 1_795_317_005_796


def test_a_line_of_json_keeps_its_fields_and_its_level():
    line = json.dumps(
        {"level": "error", "message": "late", "stream_id": "stadium", "ms": 12, "host": "other"}
    )
    found = said(line, _SYSTEMD_UNIT="livedub-agent.service", PRIORITY="6")
    assert found == {
        "level": "error",
        "message": "late",
        "stream_id": "stadium",
        "ms": 12,
        "host": "i-1",
        "unit": "livedub-agent.service",
    }


@pytest.mark.parametrize("name", ["in", "out", "out-de"])
def test_a_path_of_a_stream_names_it(name: str):
    assert said(f"[path live/stadium_1/{name}] closed")["stream_id"] == "stadium_1"
    assert said(f'{{"path": "live/stadium_1/{name}"}}')["stream_id"] == "stadium_1"
    assert "stream_id" not in said("[path other/stadium/in] closed")


@pytest.mark.parametrize(
    ("fields", "unit"),
    [
        ({"_SYSTEMD_UNIT": "init.scope", "UNIT": "mediamtx.service"}, "mediamtx.service"),
        ({"UNIT": "mediamtx.service"}, "mediamtx.service"),
        ({"_SYSTEMD_UNIT": "init.scope"}, "init.scope"),
        ({"_SYSTEMD_UNIT": "a.service", "UNIT": "b.service"}, "a.service"),
        ({"SYSLOG_IDENTIFIER": "kernel"}, "kernel"),
        ({}, "unknown"),
    ],
)
def test_every_line_has_the_unit_that_it_is_about(fields: dict[str, str], unit: str):
    assert said("x", **fields)["unit"] == unit


@pytest.mark.parametrize(
    "message",
    [
        f"publish rtmp://10.0.0.1/live/a/out?token={TOKEN} refused",
        f"[conn] publishing live/a/in?key={TOKEN}",
        f"Authorization: Bearer {TOKEN}",
        f"STS_API_KEY={TOKEN}",
        json.dumps({"msg": "handled", "request": {"headers": {"Authorization": [f"Bearer {TOKEN}"]}}}),
        json.dumps({"msg": f"rtmp://u:{TOKEN}@host/live"}),
        json.dumps({"upload_token": TOKEN}),
        json.dumps([{"password": TOKEN}]),
    ],
)
def test_no_credential_is_delivered(message: str):
    text = event_of(message).message
    assert TOKEN not in text
    assert "***" in text


def test_nobody_but_this_service_makes_metrics():
    assert "_aws" not in said(json.dumps({"_aws": {"CloudWatchMetrics": []}, "message": "x"}))


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ([98, 97, 100, 255, 33], "bad\ufffd!"),
        (["one", "two"], "one\ntwo"),
        (None, ""),
        ([], ""),
    ],
)
def test_what_is_no_text_becomes_one(message: object, text: str):
    assert said(message)["message"] == text


def test_a_long_line_is_cut_and_says_so():
    found = said("x" * 40_000)["message"]
    assert found.startswith("x" * 32_768)
    assert found.endswith("... (40000 characters)")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[1]",
        b"-- Reboot --",
        b"{}",
        b'{"__CURSOR": "a"}',
        b'{"__CURSOR": "a", "__REALTIME_TIMESTAMP": "soon"}',
        b'{"__CURSOR": 1, "__REALTIME_TIMESTAMP": "1"}',
        b"\xff" * 10,
        b"{" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_what_has_no_place_and_time_is_no_entry(line: bytes):
    assert parse_entry(line) is None


@given(st.binary())
def test_no_line_ends_the_service(line: bytes):
    parse_entry(line)


@given(
    st.text(alphabet=st.characters(codec=None, exclude_categories=())) | JSON.map(json.dumps),
    st.dictionaries(st.sampled_from(["PRIORITY", "UNIT", "_SYSTEMD_UNIT", "_PID"]), JSON, max_size=3),
)
@example('{"a": "\\ud800"}', {})
@example('{"a": 1' + "0" * 4_000 + "}", {})
@example('{"a":' * 2_000 + "1" + "}" * 2_000, {})
@example("\x00" * 40_000, {})
@example('{"a": [' + "1e15," * 6_000 + "1]}", {})
def test_every_message_becomes_a_json_object_with_host_and_unit(message: str, fields: dict[str, Any]):
    event = event_of(message, **fields)
    found = json.loads(event.message)
    assert found["host"] == "i-1"
    assert found["unit"]
    assert event.size_bytes <= 262_144
