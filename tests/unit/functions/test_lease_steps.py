from typing import Any

import pytest

from livedub.errors import InvalidInputError
from livedub.supervision.lease import bind, claim, renew
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import Outcome, Phase, StreamRecord
from tests.unit.functions.rig import NOW_MS, Clock, Rig, log_lines, reset

STARTED_AT = "2026-09-21T13:33:20.000Z"
"""NOW_MS, as Step Functions writes it."""


def acquire(rig: Rig, execution: str = "e-1", adopt_from: str = "", attempt: int = 0) -> dict[str, Any]:
    return rig.call(
        "acquire_lease",
        {"stream_id": "stadium", "execution": execution, "adopt_from": adopt_from, "attempt": attempt},
    )


def classify(rig: Rig, state: dict[str, Any], execution: str = "e-1") -> dict[str, Any]:
    return rig.call(
        "classify_outcome",
        {"stream_id": "stadium", "execution": execution, "started_at": STARTED_AT, "state": state},
    )


def release(rig: Rig, state: dict[str, Any], execution: str = "e-1") -> dict[str, Any]:
    return rig.call("release_lease", {"stream_id": "stadium", "execution": execution, "state": state})


def run_on_agent(rig: Rig, agent: str = "agent-1") -> StreamRecord:
    """What an agent does to the row until its worker runs."""
    policy = SupervisionPolicy()
    generation = rig.record().lease.generation

    def claimed(record: StreamRecord | None) -> StreamRecord:
        assert record is not None
        return claim(record, generation=generation, agent_id=agent, now_ms=rig.clock(), policy=policy)

    def bound(record: StreamRecord | None) -> StreamRecord:
        assert record is not None
        return bind(
            record,
            generation=generation,
            agent_id=agent,
            publish_token_hash="ab" * 32,
            now_ms=rig.clock(),
            policy=policy,
        )

    rig.store.update("stadium", claimed)
    record = rig.store.update("stadium", bound)
    assert record is not None
    return record


@pytest.fixture
def published(rig: Rig) -> Rig:
    assert rig.api("PUT", "/v1/streams/stadium").status == 201
    assert rig.publish().body["started"] is True
    return rig


def test_acquiring_answers_work_and_limits_for_the_next_states(published: Rig):
    assert acquire(published) == {
        "status": "acquired",
        "stream_id": "stadium",
        "generation": 1,
        "adopt_from": "",
        "attempt": 1,
        "work": {
            "schema_version": 1,
            "stream_id": "stadium",
            "generation": 1,
            "execution": "e-1",
            "heartbeat_s": 30,
        },
        "limits": {"heartbeat_s": 30, "capacity_timeout_s": 900, "supervise_timeout_s": 2_592_000},
    }


def test_a_second_execution_finds_it_held(published: Rig):
    acquire(published)
    assert acquire(published, "e-2") == {
        "status": "held",
        "stream_id": "stadium",
        "adopt_from": "",
        "attempt": 1,
    }
    assert published.record().lease.execution == "e-1"


def test_another_execution_waits_for_expiry_and_clock_skew(published: Rig, clock: Clock):
    acquire(published)
    run_on_agent(published)
    clock.pass_s(30 + 4)
    assert acquire(published, "e-2")["status"] == "held"
    clock.pass_s(2)
    taken = acquire(published, "e-2")
    assert (taken["status"], taken["generation"]) == ("acquired", 2)


def test_a_stopped_or_unknown_stream_is_not_wanted(published: Rig):
    published.api("POST", "/v1/streams/stadium/stop")
    assert acquire(published)["status"] == "not_wanted"
    answer = published.call("acquire_lease", {"stream_id": "nobody", "execution": "e-9"})
    assert answer["status"] == "not_wanted"
    assert published.store.load("nobody") is None


def test_a_successor_adopts_the_running_worker(published: Rig):
    acquire(published)
    before = run_on_agent(published)
    adopted = acquire(published, "e-2", adopt_from="e-1")
    assert (adopted["status"], adopted["generation"]) == ("adopted", 1)
    lease = published.record().lease
    assert (lease.execution, lease.agent_id, lease.phase) == ("e-2", "agent-1", Phase.RUNNING)
    assert lease.publish_token_hash == before.lease.publish_token_hash


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"stream_id": "stadium"},
        {"stream_id": "a/b", "execution": "e"},
        {"stream_id": "s", "execution": "e", "x": 1},
    ],
)
def test_an_event_that_is_none_fails_the_call(rig: Rig, event: dict[str, Any]):
    with pytest.raises(InvalidInputError, match="AcquirePayload"):
        rig.call("acquire_lease", event)


def test_a_crash_is_restarted_and_counted_once_however_often_it_is_asked(published: Rig):
    state = acquire(published)
    run_on_agent(published)
    state |= {"claim": {"agent_id": "agent-1"}, "report": {"outcome": "crashed", "exit_code": -9}}
    first = classify(published, state)
    assert first["action"] == "restart_now"
    assert classify(published, state) == first
    assert len(published.record().restarts_ms) == 1
    assert all(isinstance(first[name], str) for name in ("outcome", "detail", "successor"))


def test_the_verdict_has_every_field_that_the_state_machine_selects(published: Rig):
    verdict = classify(published, acquire(published) | {"error": {"Error": "States.Timeout"}})
    assert {"action", "backoff_s", "outcome", "detail", "successor"} <= verdict.keys()
    assert None not in verdict.values()


def test_a_worker_of_another_execution_is_not_ours_to_judge(published: Rig):
    acquire(published)
    before = published.record()
    verdict = classify(published, {"report": {"outcome": "crashed"}}, execution="e-old")
    assert (verdict["action"], verdict["outcome"]) == ("release", "fenced")
    assert published.record() == before


def test_an_old_execution_rolls_over_while_its_worker_goes_on(published: Rig, clock: Clock):
    state = acquire(published)
    run_on_agent(published)
    clock.pass_s(2_592_000)

    def beat(record: StreamRecord | None) -> StreamRecord:
        assert record is not None
        return renew(record, generation=1, agent_id="agent-1", now_ms=clock(), policy=SupervisionPolicy())

    published.store.update("stadium", beat)
    state |= {"claim": {"agent_id": "agent-1"}, "error": {"Error": "States.Timeout"}}
    verdict = classify(published, state)
    assert verdict["action"] == "roll_over"
    assert verdict["successor"]
    assert published.record().lease.phase is Phase.RUNNING


def test_release_frees_the_lease_and_keeps_the_generation(published: Rig, clock: Clock):
    state = acquire(published)
    published.unpublish()
    clock.pass_s(60)
    verdict = {"action": "release", "outcome": "source_lost", "detail": "no publisher for 10 s"}
    assert release(published, state | {"verdict": verdict}) == {
        "stream_id": "stadium",
        "outcome": "source_lost",
        "restarted": False,
    }
    record = published.record()
    assert (record.lease.phase, record.lease.generation) == (Phase.FREE, 1)
    assert record.last_outcome is Outcome.SOURCE_LOST
    assert len(published.executions()) == 1


def test_release_starts_anew_where_a_publisher_is_on(published: Rig):
    state = acquire(published)
    published.unpublish()
    published.publish(source_id="src-2")
    verdict = {"action": "release", "outcome": "source_lost", "detail": ""}
    assert release(published, state | {"verdict": verdict})["restarted"] is True
    assert len(published.executions()) == 2


def test_a_stream_whose_budget_is_spent_rests(published: Rig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LIVEDUB_RESTART_BUDGET", "0")
    reset()
    state = acquire(published)
    run_on_agent(published)
    state |= {"claim": {"agent_id": "agent-1"}, "report": {"outcome": "crashed"}}
    verdict = classify(published, state)
    assert (verdict["action"], verdict["outcome"]) == ("release", "degraded")
    assert release(published, state | {"verdict": verdict})["restarted"] is False
    assert published.record().degraded_until_ms == NOW_MS + 300_000
    assert published.publish(source_id="src-2").body["started"] is False
    assert published.call("reconcile_streams", {"source": "aws.events"})["started"] == 0
    assert published.api("POST", "/v1/streams/stadium/start").status == 200
    assert len(published.executions()) == 2


def test_a_stopped_stream_is_not_started_by_its_release(published: Rig):
    state = acquire(published)
    run_on_agent(published)
    published.api("POST", "/v1/streams/stadium/stop")
    verdict = {"action": "release", "outcome": "ended", "detail": "stopped"}
    assert release(published, state | {"verdict": verdict})["restarted"] is False
    assert len(published.executions()) == 1


def test_releasing_twice_or_for_somebody_else_changes_nothing(published: Rig):
    acquire(published)
    before = published.record()
    release(published, {"error": {"Error": "X"}}, execution="e-other")
    assert published.record() == before
    release(published, {"error": {"Error": "X", "Cause": "y"}})
    freed = published.record()
    release(published, {"error": {"Error": "X"}})
    assert published.record() == freed


def test_a_step_answers_no_secret_and_logs_what_it_was_about(published: Rig):
    with log_lines("acquire_lease") as lines:
        acquire(published)
    (line,) = lines
    assert line["message"] == "lease: acquired"
    assert (line["stream_id"], line["generation"], line["correlation_id"]) == ("stadium", 1, "e-1")


class TestExecutionWatch:
    @staticmethod
    def died(rig: Rig, name: str, status: str = "ABORTED", **detail: Any) -> dict[str, Any]:
        return rig.call(
            "execution_watch",
            {
                "version": "0",
                "id": "event-1",
                "detail-type": "Step Functions Execution Status Change",
                "source": "aws.states",
                "detail": {
                    "executionArn": f"{rig.arn}:{name}",
                    "stateMachineArn": rig.arn,
                    "name": name,
                    "status": status,
                    "input": '{"stream_id":"stadium","adopt_from":"","attempt":0}',
                    **detail,
                },
            },
        )

    @pytest.mark.parametrize("status", ["ABORTED", "TIMED_OUT", "FAILED"])
    def test_a_dead_execution_is_released_and_followed(self, published: Rig, status: str):
        acquire(published)
        assert self.died(published, "e-1", status)["restarted"] is True
        record = published.record()
        assert record.lease.phase is Phase.FREE
        assert status in record.last_detail
        assert len(published.executions()) == 2

    def test_nothing_follows_an_unwanted_stream(self, published: Rig):
        acquire(published)
        run_on_agent(published)
        published.api("POST", "/v1/streams/stadium/stop")
        assert self.died(published, "e-1")["restarted"] is False
        assert published.record().lease.phase is Phase.FREE

    def test_a_dead_execution_that_owned_nothing_changes_nothing(self, published: Rig):
        acquire(published, "e-2")
        before = published.record()
        assert self.died(published, "e-1")["restarted"] is False
        assert published.record() == before

    @pytest.mark.parametrize("given", [None, "", "{", "[]", '{"a": 1}'])
    def test_an_event_without_a_stream_is_left_to_reconcile(self, published: Rig, given: str | None):
        acquire(published)
        assert self.died(published, "e-1", input=given)["stream_id"] == ""
        assert published.record().lease.phase is Phase.WAITING_CAPACITY
