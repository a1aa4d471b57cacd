from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.supervision import desire, lease
from livedub.supervision.lease import LeaseRefusedError
from livedub.supervision.naming import successor_name
from livedub.supervision.outcomes import (
    LATEST_ATTEMPT_MS,
    Verdict,
    backoff_s,
    classify,
    release_reason,
    stage_of,
)
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import Outcome, StreamRecord
from tests.unit.supervision.given import NOW_MS, POLICY, events, off, policy, running, waiting
from tests.unit.supervision.simulation.machine import ASL

ACQUIRED: dict[str, Any] = {
    "status": "acquired",
    "stream_id": "s1",
    "generation": 1,
    "adopt_from": "",
    "attempt": 1,
}
CLAIMED = {**ACQUIRED, "claim": {"agent_id": "agent"}}
ADOPTED = {**ACQUIRED, "status": "adopted"}


def reported(outcome: str, **rest: Any) -> dict[str, Any]:
    return {**CLAIMED, "report": {"outcome": outcome, **rest}}


def failed(state: dict[str, Any], error: str) -> dict[str, Any]:
    return {**state, "error": {"Error": error, "Cause": "because"}}


def decide(
    record: StreamRecord,
    state: dict[str, Any],
    *,
    now_ms: int = NOW_MS,
    started_at_ms: int = NOW_MS,
    rules: SupervisionPolicy = POLICY,
) -> tuple[StreamRecord, Verdict]:
    return classify(
        record, execution="e1", state=state, started_at_ms=started_at_ms, now_ms=now_ms, policy=rules
    )


@pytest.mark.parametrize(
    ("state", "stage"),
    [
        (failed(ACQUIRED, "States.Timeout"), "await_host"),
        (failed(CLAIMED, "States.Timeout"), "supervise"),
        (failed(ADOPTED, "States.Timeout"), "supervise"),
        (reported("ended"), "reported"),
        ({**ADOPTED, "report": {"outcome": "ended"}}, "reported"),
    ],
)
def test_the_data_tells_where_it_came_from(state: dict[str, Any], stage: str):
    assert stage_of(state) == stage


@pytest.mark.parametrize("outcome", ["ended", "source_lost", "drained"])
def test_a_run_that_is_over_is_released(outcome: str):
    record, verdict = decide(off(running(), NOW_MS), reported(outcome, detail="why"))
    assert verdict == Verdict("release", Outcome(outcome), "why")
    assert record.restarts_ms == ()
    assert events(record)[-1] == "worker_over"


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        (reported("crashed", exit_code=-9), Outcome.CRASHED),
        (failed(CLAIMED, "States.HeartbeatTimeout"), Outcome.CRASHED),
        (failed(CLAIMED, "States.Timeout"), Outcome.CRASHED),
        (failed(ADOPTED, "States.HeartbeatTimeout"), Outcome.CRASHED),
        (reported("fenced"), Outcome.FENCED),
        (failed(CLAIMED, "DynamoDb.ConditionalCheckFailedException"), Outcome.FENCED),
        (failed(ACQUIRED, "SQS.SdkClientException"), Outcome.CRASHED),
        ({**CLAIMED, "report": {"outcome": "nonsense"}}, Outcome.CRASHED),
        ({**CLAIMED, "report": "text"}, Outcome.CRASHED),
    ],
    ids=str,
)
def test_failures_restart_at_once_and_are_counted(state: dict[str, Any], outcome: Outcome):
    record, verdict = decide(running(), state)
    assert (verdict.action, verdict.outcome, verdict.backoff_s) == ("restart_now", outcome, 0)
    assert record.restarts_ms == (NOW_MS,)


@pytest.mark.parametrize(
    ("record", "state"),
    [
        (waiting(), failed(ACQUIRED, "States.Timeout")),
        (running(), reported("drained", host_draining=True)),
        (running(), reported("crashed", host_draining=True)),
    ],
    ids=["no capacity", "host drains", "host dies"],
)
def test_what_is_nobodys_fault_is_free(record: StreamRecord, state: dict[str, Any]):
    changed, verdict = decide(record, state)
    assert verdict.action == "restart_now"
    assert changed.restarts_ms == ()


def test_a_second_crash_waits_and_the_pause_doubles():
    rules = policy(backoff_first_s=2, backoff_max_s=7)
    assert [backoff_s(restarts, rules) for restarts in (0, 1, 2, 3, 4, 5, 1_000)] == [0, 0, 2, 4, 7, 7, 7]
    crashed_before = replace(running(), restarts_ms=(NOW_MS - 1_000,))
    record, verdict = decide(crashed_before, reported("crashed"), rules=rules)
    assert (verdict.action, verdict.backoff_s) == ("restart", 2)
    assert record.lease.expires_at_ms > NOW_MS + 2_000 + 60_000, "the lease must outlast pause and retries"


def test_crashes_outside_the_window_do_not_count():
    long_ago_ms = NOW_MS - POLICY.restart_window_s * 1_000
    record, verdict = decide(replace(running(), restarts_ms=(long_ago_ms,) * 5), reported("crashed"))
    assert verdict.action == "restart_now"
    assert record.restarts_ms == (NOW_MS,)


@pytest.mark.parametrize(
    "state",
    [reported("crashed"), reported("ended"), reported("source_lost"), failed(CLAIMED, "States.Timeout")],
    ids=str,
)
def test_a_spent_budget_degrades(state: dict[str, Any]):
    spent = replace(running(), restarts_ms=tuple(NOW_MS - n for n in range(5, 0, -1)))
    record, verdict = decide(spent, state)
    assert (verdict.action, verdict.outcome) == ("release", Outcome.DEGRADED)
    assert record.degraded_until_ms == NOW_MS + POLICY.cool_down_s * 1_000
    assert events(record)[-1] == "degraded"
    again, same = decide(record, state, now_ms=NOW_MS + 5_000)
    assert (again.degraded_until_ms, same) == (record.degraded_until_ms, verdict)
    released = lease.release(
        again,
        execution="e1",
        outcome=verdict.outcome,
        detail=verdict.detail,
        now_ms=NOW_MS,
        policy=POLICY,
    )
    assert not lease.startable(released, NOW_MS + 1, POLICY)
    assert lease.startable(released, NOW_MS + POLICY.cool_down_s * 1_000, POLICY)


def test_no_budget_at_all_degrades_with_the_first_crash():
    assert decide(running(), reported("crashed"), rules=policy(restart_budget=0))[1].action == "release"


def test_asking_twice_counts_once_and_answers_the_same():
    record, verdict = decide(running(), reported("crashed"))
    again, same = decide(record, reported("crashed"), now_ms=NOW_MS + 3_000)
    assert same == verdict
    assert again.restarts_ms == (NOW_MS,)
    assert events(again) == events(record)


def test_asking_twice_counts_what_a_new_publisher_has_made_a_restart():
    gone = off(running(), NOW_MS - 60_000)
    record, verdict = decide(gone, reported("crashed"))
    assert (verdict.action, record.restarts_ms) == ("release", ())
    assert record.source is not None
    back = replace(record, source=replace(record.source, source_id="source-2", absent_since_ms=None))
    again, verdict = decide(back, reported("crashed"), now_ms=NOW_MS + 1_000)
    assert (verdict.action, again.restarts_ms) == ("restart_now", (NOW_MS,))


def test_two_endings_in_one_millisecond_are_two():
    """Clocks differ, so the next generation may seem to end when the last one did. One schedule in 100,000 showed it."""
    record, _ = decide(running(), reported("crashed"))
    record, _ = lease.acquire(record, execution="e1", adopt_from="", now_ms=NOW_MS - 3, policy=POLICY)
    record, verdict = decide(record, reported("crashed"))
    assert record.restarts_ms == (NOW_MS, NOW_MS + 1)
    assert verdict.action == "restart"


def test_an_ended_worker_may_do_nothing_any_more():
    record, _ = decide(running(), failed(CLAIMED, "States.Timeout"))
    assert (record.lease.agent_id, record.lease.task_token, record.lease.publish_token_hash) == ("", "", "")
    with pytest.raises(LeaseRefusedError):
        lease.renew(record, generation=1, agent_id="agent", now_ms=NOW_MS, policy=POLICY)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (off(running(), NOW_MS - 60_000), "the publisher is gone"),
        (desire.stop(running(), NOW_MS), "stopped by an operator"),
        (desire.drain(running(), NOW_MS), "drained by an operator"),
    ],
)
def test_nobody_restarts_what_nobody_wants(record: StreamRecord, why: str):
    changed, verdict = decide(record, reported("crashed", detail="boom"))
    assert (verdict.action, verdict.outcome) == ("release", Outcome.CRASHED)
    assert why in verdict.detail
    assert changed.restarts_ms == ()


def test_capacity_that_never_came_and_is_no_longer_needed():
    verdict = decide(off(waiting(), NOW_MS - 60_000), failed(ACQUIRED, "States.Timeout"))[1]
    assert (verdict.action, verdict.outcome) == ("release", Outcome.NO_CAPACITY)


@pytest.mark.parametrize("owner", ["e2", ""])
def test_who_does_not_own_the_stream_changes_nothing(owner: str):
    record = replace(running(), lease=replace(running().lease, execution=owner))
    changed, verdict = decide(record, reported("crashed"))
    assert changed == record
    assert (verdict.action, verdict.outcome) == ("release", Outcome.FENCED)


@pytest.mark.parametrize("skew_ms", [0, POLICY.clock_skew_ms])
def test_an_old_execution_rolls_over_while_its_worker_goes_on(skew_ms: int):
    old_ms = NOW_MS - POLICY.supervise_timeout_s * 1_000 + skew_ms
    record, verdict = decide(running(), failed(CLAIMED, "States.Timeout"), started_at_ms=old_ms)
    assert record == running()
    assert verdict.action == "roll_over"
    assert verdict.successor == successor_name("s1", "e1")


def test_an_old_execution_whose_worker_fell_silent_counts_it_and_lets_the_successor_restart_it():
    old_ms = NOW_MS - POLICY.supervise_timeout_s * 1_000
    silent = running(now_ms=NOW_MS - POLICY.lease_ttl_ms)
    record, verdict = decide(silent, failed(CLAIMED, "States.Timeout"), started_at_ms=old_ms)
    assert (verdict.action, verdict.outcome) == ("roll_over", Outcome.CRASHED)
    assert record.lease.ended_at_ms is not None
    assert record.restarts_ms == (NOW_MS,)


@pytest.mark.parametrize(
    ("attempt", "age_ms"), [(POLICY.max_attempts_per_execution, 0), (1, LATEST_ATTEMPT_MS)]
)
def test_a_worn_out_execution_leaves_the_next_attempt_to_its_successor(attempt: int, age_ms: int):
    state = {**reported("crashed"), "attempt": attempt}
    record, verdict = decide(running(), state, started_at_ms=NOW_MS - age_ms)
    assert (verdict.action, verdict.outcome) == ("roll_over", Outcome.CRASHED)
    adopted = lease.acquire(
        record, execution=verdict.successor, adopt_from="e1", now_ms=NOW_MS, policy=POLICY
    )
    assert (adopted[1], adopted[0].lease.generation) == ("acquired", 2)


def test_no_execution_outlives_its_own_time_limit():
    longest_ms = LATEST_ATTEMPT_MS + (POLICY.capacity_timeout_s + POLICY.supervise_timeout_s) * 1_000
    assert longest_ms + 3_600_000 < ASL["TimeoutSeconds"] * 1_000


@pytest.mark.parametrize(
    ("state", "outcome", "detail"),
    [
        ({"verdict": {"outcome": "ended", "detail": "fine"}}, Outcome.ENDED, "fine"),
        ({"verdict": {"outcome": "?"}}, Outcome.CRASHED, "unknown outcome '?'"),
        ({"status": "not_wanted"}, Outcome.ENDED, "not wanted"),
        (
            {"error": {"Error": "Lambda.Unknown", "Cause": "no"}},
            Outcome.CRASHED,
            "the state machine failed: Lambda.Unknown no",
        ),
        ({}, Outcome.CRASHED, "the state machine failed: no reason given"),
    ],
)
def test_what_release_records(state: dict[str, Any], outcome: Outcome, detail: str):
    assert release_reason(state) == (outcome, detail)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(("report", "claim", "error", "attempt"), JSON)),
    st.integers(0, 10**7),
)
def test_whatever_the_data_is_there_is_a_verdict(state: dict[str, Any], later_ms: int):
    record, verdict = decide(running(), state, now_ms=NOW_MS + later_ms)
    assert verdict.action in {"restart_now", "restart", "roll_over", "release"}
    assert record.lease.generation == 1
    assert (verdict.action == "restart") == (verdict.backoff_s > 0)
    assert (verdict.action == "roll_over") == bool(verdict.successor)
    assert release_reason({"verdict": {"outcome": verdict.outcome.value, "detail": verdict.detail}}) == (
        verdict.outcome,
        verdict.detail,
    )


@given(st.lists(st.integers(1, 400_000), min_size=1, max_size=60), st.integers(0, 6))
def test_never_more_restarts_than_the_budget_in_any_window(pauses_ms: list[int], budget: int):
    rules = policy(restart_budget=budget)
    record, now_ms, restarts = running(), NOW_MS, list[int]()
    for pause_ms in pauses_ms:
        now_ms += pause_ms
        assert record.source is not None
        record, verdict = decide(record, reported("crashed"), now_ms=now_ms, rules=rules)
        if verdict.outcome is Outcome.DEGRADED:
            break
        restarts.append(now_ms)
        record, _ = lease.acquire(record, execution="e1", adopt_from="", now_ms=now_ms, policy=rules)
    window_ms = rules.restart_window_s * 1_000
    for at_ms in restarts:
        assert sum(at_ms - window_ms < other_ms <= at_ms for other_ms in restarts) <= budget
