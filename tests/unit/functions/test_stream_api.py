import hashlib

import boto3
import pytest

from livedub.supervision import control_plane
from livedub.supervision.record import Desired, Phase
from livedub.supervision.store_errors import StoreUnavailableError
from tests.unit.functions.rig import TOKEN, Clock, Rig, log_lines
from tests.unit.functions.test_lease_steps import acquire, run_on_agent

STREAM = "/v1/streams/stadium"


@pytest.fixture
def stream(rig: Rig) -> Rig:
    assert rig.api("PUT", STREAM, {"settings": {"target_language": "en"}}).status == 201
    return rig


@pytest.mark.parametrize("token", ["", "wrong", TOKEN + "x", TOKEN.upper()])
def test_without_the_token_nothing_is_answered(stream: Rig, token: str):
    for method, path in (("GET", "/v1/streams"), ("POST", f"{STREAM}/stop"), ("GET", "/v1/nothing")):
        answer = stream.api(method, path, token=token)
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
    assert stream.record().desired is Desired.RUNNING


def test_the_scheme_must_be_bearer(stream: Rig):
    answer = stream.http("stream_api", "GET", "/v1/streams", headers={"Authorization": f"Basic {TOKEN}"})
    assert answer.status == 401


def test_a_rotated_token_is_noticed_within_a_minute(
    stream: Rig, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    secrets = control_plane._secrets()
    seconds = [1_000.0]
    monkeypatch.setattr(secrets, "_monotonic", lambda: seconds[0])
    secrets._kept.clear()
    assert stream.api("GET", "/v1/streams").status == 200
    boto3.client("secretsmanager").put_secret_value(SecretId="api-token", SecretString="another")
    seconds[0] += 59
    assert stream.api("GET", "/v1/streams").status == 200
    seconds[0] += 2
    assert stream.api("GET", "/v1/streams").status == 401
    assert stream.api("GET", "/v1/streams", token="another").status == 200  # noqa: S106


class TestPut:
    def test_a_stream_key_is_random_and_answered_once(self, rig: Rig):
        created = rig.api("PUT", STREAM)
        key = created.body["stream_key"]
        assert created.status == 201
        assert len(key) >= 32
        assert rig.record().stream_key_hash == hashlib.sha256(key.encode()).hexdigest()
        assert key not in repr(rig.record())
        assert rig.api("GET", STREAM).body["stream_key"] == ""
        assert rig.api("PUT", "/v1/streams/arena").body["stream_key"] != key

    def test_repeating_it_replaces_the_settings_and_keeps_the_key(self, stream: Rig):
        before = stream.record()
        again = stream.api("PUT", STREAM, {"settings": {"delay_ms": 6_000}})
        assert (again.status, again.body["stream_key"]) == (200, "")
        assert again.body["settings"] == {"delay_ms": 6_000}
        assert stream.record().stream_key_hash == before.stream_key_hash

    def test_an_open_stream_has_no_key(self, stream: Rig):
        opened = stream.api("PUT", "/v1/streams/arena", {"open": True})
        assert (opened.status, opened.body["stream_key"]) == (201, "")
        stream.api("PUT", STREAM, {"open": True})
        assert stream.record().stream_key_hash == ""

    def test_the_key_is_in_no_log_line(self, rig: Rig):
        with log_lines("stream_api") as lines:
            key = rig.api("PUT", STREAM).body["stream_key"]
        assert key
        assert key not in str(lines)
        assert TOKEN not in str(lines)

    def test_answers_are_not_kept_by_caches(self, stream: Rig):
        answer = stream.api("GET", STREAM)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers.get("Content-Type", answer.headers.get("content-type")) == "application/json"

    @pytest.mark.parametrize("stream_id", ["a%20b", "a.b", "x" * 65, "a'b"])
    def test_an_odd_id_is_refused(self, rig: Rig, stream_id: str):
        answer = rig.api("PUT", f"/v1/streams/{stream_id}")
        assert (answer.status, answer.code) == (400, "BAD_PATH")


class TestNewKey:
    def test_it_replaces_the_key_and_is_answered_once(self, stream: Rig):
        before = stream.record()
        with log_lines("stream_api") as lines:
            answer = stream.api("POST", f"{STREAM}/key")
        key = answer.body["stream_key"]
        assert answer.status == 200
        assert stream.record().stream_key_hash == hashlib.sha256(key.encode()).hexdigest()
        assert stream.record().stream_key_hash != before.stream_key_hash
        assert stream.record().journal[-1].event == "new_key"
        assert key not in str(lines)
        assert stream.api("GET", STREAM).body["stream_key"] == ""

    def test_an_open_stream_gets_one(self, stream: Rig):
        stream.api("PUT", STREAM, {"open": True})
        assert stream.api("POST", f"{STREAM}/key").body["stream_key"]
        assert stream.record().stream_key_hash

    def test_nobody_else_is_touched(self, stream: Rig):
        before = stream.record()
        stream.api("POST", f"{STREAM}/key")
        after = stream.record()
        assert (after.lease, after.desired, after.settings) == (before.lease, before.desired, before.settings)

    def test_a_stream_nobody_created_has_none(self, rig: Rig):
        assert rig.api("POST", "/v1/streams/arena/key").code == "UNKNOWN_STREAM"


class TestSettings:
    def test_hot_settings_raise_the_revision(self, stream: Rig):
        before = stream.record().settings_revision
        answer = stream.api("PATCH", f"{STREAM}/settings", {"settings": {"dub_gain_db": -3}})
        assert answer.status == 200
        assert answer.body["settings"] == {"target_language": "en", "dub_gain_db": -3}
        assert answer.body["settings_revision"] == before + 1

    @pytest.mark.parametrize(
        "settings", [{"target_language": "EN"}, {"nonsense": 1}, {"dub_gain_db": 99}, {"delay_ms": "soon"}]
    )
    def test_invalid_settings_change_nothing(self, stream: Rig, settings: dict[str, object]):
        before = stream.record()
        for method, path, body in (
            ("PATCH", f"{STREAM}/settings", {"settings": settings}),
            ("PUT", STREAM, {"settings": settings}),
            ("PUT", "/v1/streams/arena", {"settings": settings}),
        ):
            answer = stream.api(method, path, body)
            assert (answer.status, answer.code) == (422, "INVALID_SETTINGS")
        assert stream.record() == before
        assert stream.store.load("arena") is None

    def test_delay_under_a_worker_needs_consent(self, stream: Rig):
        stream.publish()
        acquire(stream)
        wanted = {"settings": {"delay_ms": 9_000}}
        refused = stream.api("PATCH", f"{STREAM}/settings", wanted)
        assert (refused.status, refused.code) == (409, "RESTART_REQUIRED")
        assert stream.api("PATCH", f"{STREAM}/settings", {**wanted, "restart": True}).status == 200

    @pytest.mark.parametrize("body", [None, [], {"restart": True}, {"settings": {}, "x": 1}, "text"])
    def test_a_malformed_body_is_refused(self, stream: Rig, body: object):
        answer = stream.api("PATCH", f"{STREAM}/settings", body)
        assert (answer.status, answer.code) == (400, "MALFORMED_BODY")


class TestLifeCycle:
    def test_start_starts_at_once_where_a_publisher_is_on(self, stream: Rig):
        stream.api("POST", f"{STREAM}/stop")
        stream.publish()
        assert stream.executions() == []
        answer = stream.api("POST", f"{STREAM}/start")
        assert (answer.status, answer.body["desired"]) == (200, "running")
        assert len(stream.executions()) == 1

    def test_start_without_a_publisher_starts_nothing(self, stream: Rig):
        stream.api("POST", f"{STREAM}/stop")
        assert stream.api("POST", f"{STREAM}/start").status == 200
        assert stream.executions() == []

    @pytest.mark.parametrize("command", ["stop", "drain"])
    def test_work_that_waits_for_a_host_is_ended_here(self, stream: Rig, command: str):
        stream.publish()
        (name,) = stream.executions()
        acquire(stream, name)
        answer = stream.api("POST", f"{STREAM}/{command}")
        assert answer.status == 200
        assert stream.record().lease.phase is Phase.FREE
        found = stream.stepfunctions.describe_execution(
            executionArn=stream.arn.replace(":stateMachine:", ":execution:") + f":{name}"
        )
        assert found["status"] == "ABORTED"

    def test_a_stop_counts_although_the_waiting_execution_cannot_be_aborted(
        self, stream: Rig, monkeypatch: pytest.MonkeyPatch
    ):
        stream.publish()
        acquire(stream)

        def unreachable(*_: str) -> None:
            raise StoreUnavailableError("Stopping execution e-1 failed.")

        monkeypatch.setattr(control_plane.starts(), "stop", unreachable)
        assert stream.api("POST", f"{STREAM}/stop").status == 200
        assert stream.record().lease.phase is Phase.FREE

    @pytest.mark.parametrize("command", ["stop", "drain"])
    def test_a_running_worker_is_left_to_its_agent(self, stream: Rig, command: str):
        stream.publish()
        (name,) = stream.executions()
        acquire(stream, name)
        run_on_agent(stream)
        answer = stream.api("POST", f"{STREAM}/{command}")
        assert answer.body["stream"]["state"] == "draining"
        assert stream.record().lease.phase is Phase.RUNNING

    def test_a_stopped_stream_stays_off_until_started(self, stream: Rig):
        stream.api("POST", f"{STREAM}/stop")
        assert stream.publish().body["started"] is False
        stream.call("reconcile_streams", {"source": "aws.events"})
        assert stream.executions() == []

    def test_a_drained_stream_starts_with_the_next_publisher(self, stream: Rig, clock: Clock):
        stream.publish()
        stream.api("POST", f"{STREAM}/drain")
        assert stream.publish().body["started"] is False
        clock.pass_s(1)
        stream.unpublish()
        assert stream.publish(source_id="src-2").body["started"] is True


def test_the_list_says_that_work_waits_for_capacity(stream: Rig):
    stream.publish()
    acquire(stream)
    (listed,) = stream.api("GET", "/v1/streams").body["streams"]
    assert (listed["stream_id"], listed["state"], listed["generation"]) == (
        "stadium",
        "waiting_for_capacity",
        1,
    )


def test_events_tell_what_happened_in_order(stream: Rig):
    stream.publish()
    acquire(stream)
    events = stream.api("GET", f"{STREAM}/events").body["events"]
    assert [event["event"] for event in events] == ["created", "source_on", "acquired"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/events"),
        ("POST", "/start"),
        ("POST", "/stop"),
        ("POST", "/drain"),
        ("PATCH", "/settings"),
    ],
)
def test_an_unknown_stream_is_said_to_be_unknown(rig: Rig, method: str, path: str):
    body = {"settings": {}} if method == "PATCH" else None
    answer = rig.api(method, f"/v1/streams/nobody{path}", body)
    assert (answer.status, answer.code) == (404, "UNKNOWN_STREAM")
    assert rig.store.load("nobody") is None


def test_what_is_not_served_is_said_in_our_words(rig: Rig):
    answer = rig.api("DELETE", STREAM)
    assert (answer.status, answer.code) == (404, "BAD_PATH")
