import hashlib
from dataclasses import replace
from typing import Any

import pytest

from livedub.supervision import control_plane
from livedub.supervision.contract import MediaAuthorization, PathReport, PublishedPath
from livedub.supervision.record import Phase
from livedub.supervision.store_errors import StoreUnavailableError
from tests.unit.functions.rig import MEDIA, Answer, Clock, Rig
from tests.unit.functions.test_lease_steps import acquire, run_on_agent


def authorize(rig: Rig, action: str, path: str, credential: str = "") -> Answer:
    request = MediaAuthorization.model_validate(
        {
            "relay_id": "media-1",
            "action": action,
            "path": path,
            "credential": credential,
            "remote_address": "203.0.113.9",
            "protocol": "rtmp",
        }
    )
    return rig.signed("authorize_media", "/v1/media/authorize", request)


def report(rig: Rig, *paths: tuple[str, str], relay_id: str = "media-1") -> Answer:
    listed = PathReport(
        relay_id=relay_id,
        taken_at_ms=rig.clock(),
        media=MEDIA,
        paths=[PublishedPath(path=path, source_id=source_id) for path, source_id in paths],
    )
    return rig.signed("reconcile_streams", "/v1/media/paths", listed)


@pytest.fixture
def key(rig: Rig) -> str:
    return rig.api("PUT", "/v1/streams/stadium").body["stream_key"]


class TestAuthorize:
    def test_the_stream_key_opens_in(self, rig: Rig, key: str):
        answer = authorize(rig, "publish", "live/stadium/in", key)
        assert answer.status == 200
        assert answer.body == {"allowed": True, "stream_id": "stadium", "generation": None}

    @pytest.mark.parametrize("credential", ["", "guess"])
    def test_a_wrong_stream_key_does_not(self, rig: Rig, key: str, credential: str):
        answer = authorize(rig, "publish", "live/stadium/in", credential)
        assert (answer.status, answer.code) == (403, "WRONG_STREAM_KEY")

    def test_only_the_holder_publishes_out(self, rig: Rig, key: str):
        rig.publish()
        acquire(rig)
        run_on_agent(rig)
        # run_on_agent bound a hash whose token nobody has: bind a known one through the row
        token = "the-token-of-generation-1"  # noqa: S105

        def rebind(record: Any) -> Any:
            digest = hashlib.sha256(token.encode()).hexdigest()
            return replace(record, lease=replace(record.lease, publish_token_hash=digest))

        rig.store.update("stadium", rebind)
        allowed = authorize(rig, "publish", "live/stadium/out", token)
        assert (allowed.status, allowed.body["generation"]) == (200, 1)
        for wrong in ("", "the-token-of-generation-0", key):
            refused = authorize(rig, "publish", "live/stadium/out", wrong)
            assert (refused.status, refused.code) == (403, "NOT_THE_HOLDER")

    def test_strangers_and_odd_paths_are_refused(self, rig: Rig, key: str):
        assert authorize(rig, "publish", "live/nobody/in").code == "UNKNOWN_STREAM"
        assert authorize(rig, "publish", "live/nobody/out").code == "UNKNOWN_STREAM"
        assert authorize(rig, "publish", "live/../../in").code == "BAD_PATH"

    def test_the_relay_must_sign(self, rig: Rig, key: str):
        body = MediaAuthorization(relay_id="media-1", action="read", path="live/stadium/out")
        answer = rig.http("authorize_media", "POST", "/v1/media/authorize", body.model_dump_json().encode())
        assert (answer.status, answer.code) == (401, "UNSIGNED")

    def test_nobody_passes_while_the_row_cannot_be_read(
        self, rig: Rig, key: str, monkeypatch: pytest.MonkeyPatch
    ):
        def unreachable(_: str) -> None:
            raise StoreUnavailableError("Reading stream stadium failed.")

        monkeypatch.setattr(control_plane.streams(), "load", unreachable)
        assert authorize(rig, "publish", "live/stadium/in", key).status == 503


class TestReconcile:
    def test_a_lost_publish_hook_is_made_up_for(self, rig: Rig, key: str, clock: Clock):
        clock.pass_s(10)
        answer = report(rig, ("live/stadium/in", "src-1"), ("live/stadium/out", "w"))
        assert (answer.status, answer.body["started"], answer.body["noted"]) == (200, 1, 1)
        assert rig.record().source_present
        assert len(rig.executions()) == 1

    def test_a_lost_unpublish_hook_is_made_up_for(self, rig: Rig, key: str, clock: Clock):
        rig.publish()
        clock.pass_s(10)
        assert report(rig).body["noted"] == 1
        assert not rig.record().source_present

    @pytest.mark.parametrize(("policy", "started"), [("accept", 1), ("refuse", 0)])
    def test_a_stream_nobody_heard_of_is_found_where_such_are_accepted(
        self, rig: Rig, key: str, monkeypatch: pytest.MonkeyPatch, policy: str, started: int
    ):
        monkeypatch.setenv("LIVEDUB_UNKNOWN_STREAMS", policy)
        control_plane.forget()
        assert report(rig, ("live/arena/in", "src-2")).body["started"] == started
        found = rig.store.load("arena")
        assert (found is not None and found.source_present) == bool(started)

    def test_the_schedule_does_the_same_from_what_was_stored(self, rig: Rig, key: str, clock: Clock):
        rig.publish()
        acquire(rig)
        run_on_agent(rig)
        clock.pass_s(35)
        report(rig, ("live/stadium/in", "src-1"))
        clock.pass_s(1)
        done = rig.call("reconcile_streams", {"source": "aws.events", "detail-type": "Scheduled Event"})
        assert (done["released"], done["started"]) == (1, 1)
        assert rig.record().lease.phase is Phase.FREE

    def test_when_all_is_well_nothing_is_done(self, rig: Rig, key: str, clock: Clock):
        rig.publish()
        acquire(rig)
        before = rig.record()
        clock.pass_s(5)
        answer = report(rig, ("live/stadium/in", "src-1"))
        assert answer.body == {"streams": 1, "noted": 0, "released": 0, "started": 0, "failed": 0}
        assert rig.record() == before

    def test_an_older_list_does_not_replace_a_later_one(self, rig: Rig, key: str, clock: Clock):
        clock.pass_s(10)
        report(rig, ("live/stadium/in", "src-1"))
        clock.pass_s(-5)
        assert report(rig).status == 200
        assert control_plane.reports().list_all()[0].paths
        assert rig.record().source_present

    def test_one_stream_in_trouble_does_not_stop_the_others(
        self, rig: Rig, key: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ):
        rig.api("PUT", "/v1/streams/arena")
        store = control_plane.streams()
        update = store.update

        def trouble(stream_id: str, rule: Any) -> Any:
            if stream_id == "arena":
                raise StoreUnavailableError("Writing stream arena failed.")
            return update(stream_id, rule)

        monkeypatch.setattr(store, "update", trouble)
        clock.pass_s(10)
        answer = report(rig, ("live/arena/in", "src-2"), ("live/stadium/in", "src-1"))
        assert (answer.body["failed"], answer.body["started"]) == (1, 1)

    def test_a_row_that_cannot_be_read_does_not_stop_the_others(self, rig: Rig, key: str, clock: Clock):
        rig.dynamodb.put_item(TableName="streams", Item={"stream_id": {"S": "odd"}, "lease": {"S": "?"}})
        clock.pass_s(10)
        assert report(rig, ("live/stadium/in", "src-1")).body["started"] == 1

    def test_two_reconciles_at_once_start_one_execution(self, rig: Rig, key: str, clock: Clock):
        clock.pass_s(10)
        report(rig, ("live/stadium/in", "src-1"))
        report(rig, ("live/stadium/in", "src-1"))
        rig.call("reconcile_streams", {"source": "aws.events"})
        assert len(rig.executions()) == 1

    def test_a_reconcile_between_a_hook_and_its_execution_starts_no_second_one(self, rig: Rig, key: str):
        rig.publish()
        assert rig.call("reconcile_streams", {"source": "aws.events"})["started"] == 1
        assert len(rig.executions()) == 1

    def test_an_execution_that_ended_without_the_lease_is_followed(self, rig: Rig, key: str):
        rig.publish()
        (name,) = rig.executions()
        rig.stepfunctions.stop_execution(
            executionArn=rig.arn.replace(":stateMachine:", ":execution:") + f":{name}"
        )
        rig.call("reconcile_streams", {"source": "aws.events"})
        rig.call("reconcile_streams", {"source": "aws.events"})
        assert len(rig.executions()) == 2

    def test_an_oversized_list_is_refused(self, rig: Rig):
        listed = b'{"paths": [' + b'{"path": "x"},' * 30_000 + b"]}"
        answer = rig.signed("reconcile_streams", "/v1/media/paths", listed)
        assert (answer.status, answer.code) == (413, "BODY_TOO_LARGE")
