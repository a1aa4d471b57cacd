"""tests/events/*.json: what AWS hands each function, kept to the letter; signed with the rig's key at the rig's time."""

import json
from typing import Any

import pytest

from livedub.supervision.record import Phase
from tests.unit.functions.rig import EVENTS, FUNCTIONS, Clock, Rig

CASES = {path.stem: json.loads(path.read_text()) for path in sorted(EVENTS.glob("*.json"))}


def function_of(case: str) -> str:
    """The longest function name that the file's name begins with."""
    return max((name for name in FUNCTIONS if case.startswith(name)), key=len)


def answered(raw: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    return raw["statusCode"], json.loads(raw["body"])


@pytest.fixture
def stream(rig: Rig) -> Rig:
    assert answered(rig.call("stream_api", CASES["stream_api_put"]))[0] == 201
    return rig


@pytest.fixture
def owned(stream: Rig) -> Rig:
    """The publisher is on, and the golden execution owns the stream."""
    stream.publish(source_id="media-1.rtmp.4f6a")
    assert stream.call("acquire_lease", CASES["acquire_lease"])["status"] == "acquired"
    return stream


def test_every_function_has_an_event():
    assert {function_of(case) for case in CASES} == set(FUNCTIONS)


@pytest.mark.parametrize("case", ["on_publish", "on_publish_base64"])
def test_on_publish(stream: Rig, case: str):
    status, body = answered(stream.call("on_publish", CASES[case]))
    assert (status, body["started"], body["stream_id"]) == (200, True, "stadium")
    assert len(stream.executions()) == 1


def test_on_unpublish(stream: Rig):
    stream.call("on_publish", CASES["on_publish"])
    assert answered(stream.call("on_unpublish", CASES["on_unpublish"]))[0] == 200
    assert not stream.record().source_present


def test_authorize_media(stream: Rig):
    status, body = answered(stream.call("authorize_media", CASES["authorize_media"]))
    assert (status, body["allowed"]) == (200, True)


def test_reconcile_streams(stream: Rig):
    status, body = answered(stream.call("reconcile_streams", CASES["reconcile_streams"]))
    assert (status, body["started"]) == (200, 1)
    by_schedule = stream.call("reconcile_streams", CASES["reconcile_streams_schedule"])
    assert by_schedule["streams"] == 1


def test_stream_api(stream: Rig):
    status, body = answered(stream.call("stream_api", CASES["stream_api"]))
    assert (status, [listed["stream_id"] for listed in body["streams"]]) == (200, ["stadium"])
    _, changed = answered(stream.call("stream_api", CASES["stream_api_settings"]))
    assert changed["settings"] == {"target_language": "en", "dub_gain_db": -3}
    _, stopped = answered(stream.call("stream_api", CASES["stream_api_stop"]))
    assert stopped["stream"]["state"] == "stopped"


@pytest.mark.parametrize("case", ["classify_outcome", "classify_outcome_heartbeat"])
def test_classify_outcome(owned: Rig, case: str):
    verdict = owned.call("classify_outcome", CASES[case])
    assert (verdict["action"], verdict["outcome"]) == ("restart_now", "crashed")


def test_release_lease(owned: Rig):
    released = owned.call("release_lease", CASES["release_lease"])
    assert (released["outcome"], owned.record().lease.phase) == ("source_lost", Phase.FREE)


def test_execution_watch(owned: Rig):
    assert owned.call("execution_watch", CASES["execution_watch"])["restarted"] is True
    assert owned.record().lease.phase is Phase.FREE


@pytest.mark.parametrize("case", [case for case in CASES if "x-livedub-signature" in str(CASES[case])])
def test_signed_events_do_not_work_later(stream: Rig, clock: Clock, case: str):
    clock.pass_s(3_600)
    status, body = answered(stream.call(function_of(case), CASES[case]))
    assert (status, body["code"]) == (401, "STALE_SIGNATURE")
