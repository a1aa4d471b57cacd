import json
from typing import Any

import pytest

from livedub.supervision import control_plane
from livedub.supervision.contract import MAX_BODY_BYTES
from livedub.supervision.record import Phase
from livedub.supervision.signing import sign
from livedub.supervision.store_errors import StoreUnavailableError
from tests.unit.functions.rig import KEY, OLD_KEY, Clock, Rig, http_event, log_lines

PUBLISH = "/v1/hooks/publish"


@pytest.fixture
def known(rig: Rig) -> Rig:
    assert rig.api("PUT", "/v1/streams/stadium").status == 201
    return rig


def test_a_publisher_starts_one_execution(known: Rig):
    answer = known.publish()
    assert (answer.status, answer.body["started"]) == (200, True)
    (name,) = known.executions()
    execution = known.stepfunctions.describe_execution(
        executionArn=known.arn.replace(":stateMachine:", ":execution:") + f":{name}"
    )
    assert json.loads(execution["input"]) == {"stream_id": "stadium", "adopt_from": "", "attempt": 0}
    record = known.record()
    assert record.source is not None
    assert record.source.source_id == "src-1"
    assert record.media is not None
    assert record.media.publish_base_url == "rtmp://media-1:1935"


def test_a_hundred_repeated_hooks_start_one_execution(known: Rig):
    for _ in range(100):
        assert known.publish().status == 200
    assert len(known.executions()) == 1


def test_a_held_stream_starts_nothing(known: Rig):
    known.publish()
    known.call("acquire_lease", {"stream_id": "stadium", "execution": "e-1", "adopt_from": "", "attempt": 0})
    answer = known.publish(source_id="src-2")
    assert answer.body["started"] is False
    assert len(known.executions()) == 1
    assert known.record().lease.phase is Phase.WAITING_CAPACITY


def test_a_lost_publisher_is_noted_and_starts_nothing(known: Rig, clock: Clock):
    known.publish()
    clock.pass_s(1)
    answer = known.unpublish()
    assert (answer.status, answer.body["started"]) == (200, False)
    assert not known.record().source_present
    assert len(known.executions()) == 1


def test_hooks_of_out_paths_change_nothing(known: Rig):
    before = known.record()
    assert known.publish(path="live/stadium/out").status == 200
    assert known.unpublish(path="live/stadium/out-en").status == 200
    assert known.record() == before
    assert known.executions() == []


def test_an_unknown_stream_is_refused_and_leaves_no_row(rig: Rig):
    for answer in (rig.publish("nobody"), rig.unpublish("nobody")):
        assert (answer.status, answer.code) == (404, "UNKNOWN_STREAM")
    assert rig.store.load("nobody") is None
    assert rig.executions() == []


def test_an_unknown_stream_is_created_where_that_is_allowed(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LIVEDUB_UNKNOWN_STREAMS", "accept")
    monkeypatch.setenv("LIVEDUB_DEFAULT_STREAM_SETTINGS", '{"target_language": "en"}')
    assert rig.publish("fresh").body["started"] is True
    assert rig.record("fresh").settings == {"target_language": "en"}


@pytest.mark.parametrize(
    "path", ["live/../in", "live/stadium/in\n", "live/a b/in", "x", "live/stadium/other"]
)
def test_a_path_that_is_no_stream_is_refused(known: Rig, path: str):
    answer = known.publish(path=path)
    assert (answer.status, answer.code) == (400, "BAD_PATH")
    assert known.executions() == []


class TestSignature:
    def test_any_of_the_keys_will_do(self, known: Rig):
        for key in (KEY, OLD_KEY):
            assert known.signed("on_publish", PUBLISH, known.hook(), key=key).status == 200

    def test_a_body_in_base64_is_verified_as_it_was_sent(self, known: Rig):
        assert known.signed("on_publish", PUBLISH, known.hook(), encode=True).status == 200

    def test_without_a_signature_nobody_passes(self, known: Rig):
        answer = known.http("on_publish", "POST", PUBLISH, known.hook().model_dump_json().encode())
        assert (answer.status, answer.code) == (401, "UNSIGNED")

    def test_a_strange_key_does_not_fit(self, known: Rig):
        answer = known.signed("on_publish", PUBLISH, known.hook(), key=b"another key of 32 bytes or so...")
        assert (answer.status, answer.code) == (401, "BAD_SIGNATURE")

    def test_a_signature_for_another_path_does_not_fit(self, known: Rig):
        answer = known.signed("on_publish", "/v1/hooks/unpublish", known.hook())
        assert answer.status == 200  # what the event says is what is verified; the route is API Gateway's
        body = known.hook().model_dump_json().encode()
        headers = sign(
            KEY, body, method="POST", path="/v1/hooks/unpublish", timestamp_ms=known.clock(), nonce="n" * 20
        )
        refused = known.http("on_publish", "POST", PUBLISH, body, headers)
        assert (refused.status, refused.code) == (401, "BAD_SIGNATURE")

    @pytest.mark.parametrize("off_s", [-61, 61])
    def test_a_minute_off_is_stale(self, known: Rig, off_s: int):
        answer = known.signed("on_publish", PUBLISH, known.hook(), at_ms=known.clock() + off_s * 1_000)
        assert (answer.status, answer.code) == (401, "STALE_SIGNATURE")

    def test_a_request_works_once(self, known: Rig):
        first = known.signed("on_publish", PUBLISH, known.hook(), nonce="nonce-of-the-first")
        again = known.signed("on_publish", PUBLISH, known.hook(), nonce="nonce-of-the-first")
        assert first.status == 200
        assert (again.status, again.code) == (401, "REPLAYED")

    def test_a_refused_request_starts_nothing_and_writes_nothing(self, known: Rig):
        before = known.record()
        known.http("on_publish", "POST", PUBLISH, known.hook().model_dump_json().encode())
        known.signed("on_publish", PUBLISH, known.hook(), key=b"another key of 32 bytes or so...")
        known.signed("on_publish", PUBLISH, known.hook(), at_ms=0)
        assert known.record() == before
        assert known.executions() == []


class TestBody:
    def test_too_large_is_refused_before_anything_else(self, known: Rig, monkeypatch: pytest.MonkeyPatch):
        def unexpected(*_: Any, **__: Any) -> None:
            raise AssertionError("looked at a body that is too large")

        monkeypatch.setattr("livedub.supervision.signed_requests.verify", unexpected)
        for encode in (False, True):
            answer = known.http("on_publish", "POST", PUBLISH, b"x" * (MAX_BODY_BYTES + 1), encode=encode)
            assert (answer.status, answer.code) == (413, "BODY_TOO_LARGE")

    def test_the_largest_body_is_read(self, known: Rig):
        answer = known.signed("on_publish", PUBLISH, b" " * MAX_BODY_BYTES, encode=True)
        assert answer.code == "MALFORMED_BODY"

    @pytest.mark.parametrize(
        "body",
        [b"", b"{", b"[]", b"null", b'{"schema_version": 2}', b'{"path": "live/stadium/in"}', b"\xff\xfe"],
    )
    def test_malformed_is_refused(self, known: Rig, body: bytes):
        answer = known.signed("on_publish", PUBLISH, body, encode=True)
        assert (answer.status, answer.code) == (400, "MALFORMED_BODY")
        assert known.executions() == []

    def test_unknown_fields_are_refused_without_repeating_their_values(self, known: Rig):
        body = known.hook().model_dump() | {"token": "hush-hush"}
        answer = known.signed("on_publish", PUBLISH, json.dumps(body).encode())
        assert answer.code == "MALFORMED_BODY"
        assert "token" in answer.body["message"]
        assert "hush-hush" not in json.dumps(answer.body)

    def test_base64_that_is_none_is_refused(self, known: Rig):
        event = http_event("POST", PUBLISH, b"", {}) | {"body": "%%%", "isBase64Encoded": True}
        assert json.loads(known.call("on_publish", event)["body"])["code"] == "MALFORMED_BODY"


class TestTrouble:
    """AWS fails in the middle: the relay's next attempt, or reconcile, finishes what was begun."""

    def test_a_start_that_failed_is_made_up_for_by_the_repeated_hook(
        self, known: Rig, monkeypatch: pytest.MonkeyPatch
    ):
        def unreachable(*_: Any) -> None:
            raise StoreUnavailableError("Starting an execution failed: connection refused.")

        with monkeypatch.context() as cut:
            cut.setattr(control_plane.starts(), "start", unreachable)
            answer = known.publish()
        assert (answer.status, answer.code) == (503, "UNAVAILABLE")
        assert known.record().source_present
        assert known.executions() == []
        assert known.publish().body["started"] is True
        assert len(known.executions()) == 1

    def test_a_start_that_failed_is_made_up_for_by_reconcile(
        self, known: Rig, monkeypatch: pytest.MonkeyPatch
    ):
        def unreachable(*_: Any) -> None:
            raise StoreUnavailableError("Starting an execution failed: connection refused.")

        with monkeypatch.context() as cut:
            cut.setattr(control_plane.starts(), "start", unreachable)
            assert known.publish().status == 503
        assert known.call("reconcile_streams", {"source": "aws.events"})["started"] == 1
        assert len(known.executions()) == 1

    def test_an_execution_that_ended_without_the_lease_does_not_block_the_stream(self, known: Rig):
        known.publish()
        (first,) = known.executions()
        known.stepfunctions.stop_execution(
            executionArn=known.arn.replace(":stateMachine:", ":execution:") + f":{first}"
        )
        assert known.publish().body["started"] is True
        assert len(known.executions()) == 2

    def test_nobody_passes_while_nonces_cannot_be_checked(self, known: Rig):
        known.dynamodb.delete_table(TableName="replay")
        answer = known.publish()
        assert (answer.status, answer.code) == (503, "UNAVAILABLE")
        assert known.executions() == []

    def test_what_nobody_expected_says_nothing_about_itself(
        self, known: Rig, monkeypatch: pytest.MonkeyPatch
    ):
        def broken(*_: Any, **__: Any) -> None:
            raise RuntimeError("password=hunter2")

        monkeypatch.setattr("livedub.supervision.media_requests.published", broken)
        answer = known.publish()
        assert (answer.status, answer.code) == (500, "INTERNAL")
        assert "hunter2" not in json.dumps(answer.body)

    def test_a_missing_variable_is_named_in_the_log_only(self, known: Rig, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.delenv("LIVEDUB_REPLAY_TABLE")
        control_plane.forget()
        with log_lines("on_publish") as lines:
            answer = known.publish()
        assert (answer.status, answer.code) == (500, "MISCONFIGURED")
        assert "REPLAY_TABLE" not in json.dumps(answer.body)
        assert "LIVEDUB_REPLAY_TABLE" in lines[-1]["exception"]


def test_lines_and_metrics_say_what_it_was_about_and_no_secret(
    known: Rig, capsys: pytest.CaptureFixture[str]
):
    capsys.readouterr()
    with log_lines("on_publish") as lines:
        known.publish()
    (said,) = lines
    assert said["message"] == "publisher on: recorded"
    assert said["service"] == "on_publish"
    assert (said["stream_id"], said["generation"]) == ("stadium", 0)
    assert said["correlation_id"] == "JKJaXmPLvHcESHA="
    metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    (started,) = [metric for metric in metrics if "Started" in metric]
    assert started["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "livedub"
    assert KEY.hex() not in json.dumps(lines)
