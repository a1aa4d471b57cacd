"""What must hold of the definition itself, whatever runs it."""

import json
from typing import Any

import pytest

from livedub.supervision.policy import SupervisionPolicy
from tests.statemachine.machine import PLACEHOLDER, STATE_FUNCTIONS
from tests.unit.functions.rig import ASL

DEFINITION: dict[str, Any] = json.loads(ASL.read_text())
STATES: dict[str, dict[str, Any]] = DEFINITION["States"]
TASKS = {name: state for name, state in STATES.items() if state["Type"] == "Task"}
TIMEOUTS = {"States.Timeout", "States.HeartbeatTimeout"}
HISTORY_LIMIT = 25_000
"""Events of one execution: Step Functions' hard quota."""


def targets(state: dict[str, Any]) -> set[str]:
    """Every state that may follow."""
    following = [state.get("Next"), state.get("Default")]
    following += [choice["Next"] for choice in state.get("Choices", [])]
    following += [catch["Next"] for catch in state.get("Catch", [])]
    return {name for name in following if name}


def reachable(start: str, *, without: str = "") -> set[str]:
    found: set[str] = set()
    left = [start]
    while left:
        name = left.pop()
        if name not in found and name != without:
            found.add(name)
            left += targets(STATES[name])
    return found


def test_it_has_a_time_limit_of_31_days():
    assert DEFINITION["TimeoutSeconds"] == 31 * 86_400


def test_the_longest_supervision_fits_into_it_with_a_day_to_spare():
    longest = SupervisionPolicy.model_fields["supervise_timeout_s"].metadata
    most = next(bound.le for bound in longest if hasattr(bound, "le"))
    assert most + 86_400 <= DEFINITION["TimeoutSeconds"]


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_task_is_bounded_and_says_what_happens_when_it_fails(name: str):
    task = TASKS[name]
    assert ("TimeoutSeconds" in task) != ("TimeoutSecondsPath" in task)
    caught = {error for catch in task["Catch"] for error in catch["ErrorEquals"]}
    assert "States.ALL" in caught
    for catch in task["Catch"]:
        assert (
            catch["ResultPath"] == "$.error"
        )  # what went before is kept: ReleaseLease and the verdict need it


def test_a_missed_heartbeat_is_caught_under_both_of_its_names():
    supervise = STATES["SuperviseWorker"]
    assert "HeartbeatSecondsPath" in supervise
    assert set(supervise["Catch"][0]["ErrorEquals"]) == TIMEOUTS
    assert "HeartbeatSeconds" not in STATES["AwaitHost"]
    assert "HeartbeatSecondsPath" not in STATES["AwaitHost"]


def test_retries_are_few_and_never_repeat_a_token():
    for name, task in TASKS.items():
        if task["Resource"].endswith(".waitForTaskToken"):
            assert "Retry" not in task, f"{name}: a retry would hand out the old generation's work again"
        else:
            assert all(1 <= retry["MaxAttempts"] <= 8 for retry in task["Retry"])


def test_placeholders_are_those_that_the_deployment_fills_in():
    assert set(PLACEHOLDER.findall(ASL.read_text())) == {
        *STATE_FUNCTIONS,
        "WorkQueueUrl",
        "StreamsTable",
    }


def test_every_state_is_reached_and_every_target_exists():
    assert reachable(DEFINITION["StartAt"]) == set(STATES)


def test_every_path_releases_rolls_over_or_never_owned():
    """Taking ReleaseLease away leaves only the two ends that hold nothing."""
    ends = {
        name
        for name in reachable(DEFINITION["StartAt"], without="ReleaseLease")
        if STATES[name]["Type"] in {"Succeed", "Fail"}
    }
    assert ends == {"NotOurs", "RolledOver"}
    assert targets(STATES["ReleaseLease"]) == {"Released", "NotReleased"}


def test_an_owner_is_never_taken_for_a_stranger():
    """NotOurs releases nothing: only `held` may lead there."""
    leading = [name for name, state in STATES.items() if "NotOurs" in targets(state)]
    assert leading == ["Acquired?"]
    (choice,) = [choice for choice in STATES["Acquired?"]["Choices"] if choice["Next"] == "NotOurs"]
    assert (choice["Variable"], choice["StringEquals"]) == ("$.status", "held")


def test_the_token_is_written_for_the_own_generation_alone():
    parameters = STATES["SuperviseWorker"]["Parameters"]
    assert parameters["ConditionExpression"] == (
        "#lease.#generation = :generation AND #lease.#execution = :execution"
    )
    assert "ADD #row_version :one" in parameters["UpdateExpression"]


def test_the_selected_fields_of_the_verdict_are_those_that_choices_read():
    selected = {name.removesuffix(".$") for name in STATES["ClassifyOutcome"]["ResultSelector"]}
    assert {"action", "backoff_s", "successor", "outcome", "detail"} == selected
    assert {choice["StringEquals"] for choice in STATES["WhatNext?"]["Choices"]} == {
        "restart_now",
        "restart",
        "roll_over",
    }


def events_per_attempt() -> int:
    """History events of one worker's whole way round, the longest one, without retries of the functions.

    A task state makes at most six (entered, scheduled, started, submitted, ended, exited), any other state two.
    Heartbeats make none.
    """
    loop = {name for name in reachable("AcquireLease") if "AcquireLease" in reachable(name)}
    return sum(6 if name in TASKS else 2 for name in loop)


def test_a_month_of_restarts_stays_far_under_the_history_limit():
    at_most = SupervisionPolicy().max_attempts_per_execution
    assert at_most * events_per_attempt() < HISTORY_LIMIT * 0.75
