"""What becomes of a stream, run on the file that is deployed."""

from contextlib import suppress

import pytest

from livedub.supervision.lease import LeaseRefusedError
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import Outcome, Phase
from tests.statemachine.conftest import SHORT
from tests.statemachine.machine import Agent, Machine, eventually
from tests.statemachine.test_definition import events_per_attempt

HEARTBEAT_S = 2
"""Where a test waits for it; elsewhere nothing may depend on how fast this machine is."""


def publish(machine: Machine) -> str:
    """A publisher comes; the execution it starts."""
    before = set(machine.rig.executions())
    assert machine.rig.publish().body["started"] is True
    (name,) = set(machine.rig.executions()) - before
    return name


def test_one_run_from_publisher_to_release(machine: Machine, agent: Agent):
    name = publish(machine)
    work = agent.take()["work"]
    assert work == {
        "schema_version": 1,
        "stream_id": "stadium",
        "generation": 1,
        "execution": name,
        "heartbeat_s": SHORT.heartbeat_s,
    }
    agent.beat(work)
    assert machine.rig.api("GET", "/v1/streams/stadium").body["stream"]["state"] == "running"
    machine.rig.unpublish()
    agent.report(work, "source_lost", detail="no publisher for 10 s")
    assert machine.ended(name) == "SUCCEEDED"
    record = machine.rig.record()
    assert (record.lease.phase, record.lease.generation) == (Phase.FREE, 1)
    assert (record.last_outcome, record.lease.task_token) == (Outcome.SOURCE_LOST, "")
    assert machine.states(name) == [
        "AcquireLease",
        "Acquired?",
        "AwaitHost",
        "SuperviseWorker",
        "ClassifyOutcome",
        "WhatNext?",
        "ReleaseLease",
        "Released",
    ]


@pytest.mark.slow  # they wait out real heartbeats
class TestHeartbeats:
    @pytest.fixture
    def policy(self) -> SupervisionPolicy:
        return SHORT.model_copy(update={"heartbeat_s": HEARTBEAT_S})

    def test_missed_heartbeats_give_the_stream_to_the_next_generation(self, machine: Machine, agent: Agent):
        name = publish(machine)
        first = agent.take()["work"]
        stale_token = machine.lease().task_token
        second = Agent(machine, agent.policy, "agent-2").take()["work"]
        assert (first["generation"], second["generation"]) == (1, 2)
        lease = machine.lease()
        assert (lease.agent_id, lease.execution, lease.phase) == ("agent-2", name, Phase.RUNNING)
        assert len(machine.rig.record().restarts_ms) == 1

        with pytest.raises(LeaseRefusedError, match=r"over"):
            agent.beat(first)
        machine.succeed_too_late(stale_token, {"outcome": "ended"})
        assert machine.status(name) == "RUNNING"
        assert machine.lease() == lease

    def test_heartbeats_keep_the_worker_for_longer_than_they_may_be_apart(
        self, machine: Machine, agent: Agent
    ):
        name = publish(machine)
        work = agent.take()["work"]
        agent.beat(work)
        events = len(machine.history(name))
        started_ms = machine.rig.clock()
        while machine.rig.clock() < started_ms + HEARTBEAT_S * 1_250:
            agent.beat(work)
            ended = machine.status(name) != "RUNNING"
            assert not ended
        assert machine.lease().generation == 1
        assert len(machine.history(name)) == events
        assert "ClassifyOutcome" not in machine.states(name)

    def test_work_that_waits_for_a_host_is_no_dead_worker_and_costs_no_restart(
        self, machine: Machine, agent: Agent
    ):
        name = publish(machine)
        message = machine.message()
        waits_from_ms = machine.rig.clock()
        # Nobody takes it for longer than a worker may be silent.
        eventually(lambda: machine.rig.clock() > waits_from_ms + HEARTBEAT_S * 1_150, "the heartbeat's time")
        (listed,) = machine.rig.api("GET", "/v1/streams").body["streams"]
        assert listed["state"] == "waiting_for_capacity"
        agent.claim(message)
        agent.bind(message["work"])
        agent.beat(message["work"])
        assert machine.status(name) == "RUNNING"
        record = machine.rig.record()
        assert (record.lease.generation, record.restarts_ms) == (1, ())


def test_a_crash_restarts_in_the_same_execution_and_its_row_names_the_next_generation(
    machine: Machine, agent: Agent
):
    name = publish(machine)
    work = agent.take()["work"]
    agent.report(work, "crashed", exit_code=-9)
    again = agent.take()["work"]
    assert (again["generation"], again["execution"]) == (2, name)
    assert machine.rig.executions() == [name]


class TestNoHost:
    @pytest.fixture
    def policy(self) -> SupervisionPolicy:
        # Shorter than the class allows, so that a test can wait for it.
        return SHORT.model_copy(update={"capacity_timeout_s": 1})

    def test_it_is_queued_anew_without_touching_the_budget_and_old_messages_are_refused(
        self, machine: Machine, agent: Agent
    ):
        name = publish(machine)
        first = machine.message()
        second = machine.message()
        assert (first["work"]["generation"], second["work"]["generation"]) == (1, 2)
        assert first["claim_token"] != second["claim_token"]
        with pytest.raises(LeaseRefusedError):
            agent.claim(first)
        assert machine.status(name) == "RUNNING"
        assert machine.rig.record().restarts_ms == ()


def test_a_message_delivered_twice_is_claimed_once(machine: Machine, agent: Agent):
    publish(machine)
    message = machine.message()
    agent.claim(message)
    with pytest.raises(LeaseRefusedError, match="agent-1"):
        Agent(machine, agent.policy, "agent-2").claim(message)
    agent.bind(message["work"])
    machine.succeed_too_late(message["claim_token"], {"agent_id": "agent-2"})
    agent.beat(message["work"])
    assert machine.lease().agent_id == "agent-1"


def test_a_spent_budget_rests_the_stream_and_ends_the_execution(machine: Machine, agent: Agent):
    name = publish(machine)
    for _ in range(SHORT.restart_budget + 1):
        agent.report(agent.take()["work"], "crashed", exit_code=1)
    assert machine.ended(name) == "SUCCEEDED"
    record = machine.rig.record()
    assert (record.lease.phase, record.lease.generation) == (Phase.FREE, SHORT.restart_budget + 1)
    assert record.last_outcome is Outcome.DEGRADED
    assert machine.rig.api("GET", "/v1/streams/stadium").body["stream"]["state"] == "degraded"
    assert machine.rig.publish(source_id="src-2").body["started"] is False
    assert machine.rig.executions() == [name]
    # One end more: start, release and end of the execution.
    attempts = SHORT.restart_budget + 1
    assert len(machine.history(name)) <= attempts * events_per_attempt() + 12


def test_a_host_that_drains_hands_over_at_once_and_for_free(machine: Machine, agent: Agent):
    publish(machine)
    for _ in range(SHORT.restart_budget + 1):
        agent.report(agent.take()["work"], "drained", host_draining=True)
    assert agent.take()["work"]["generation"] == SHORT.restart_budget + 2
    assert machine.rig.record().restarts_ms == ()


def test_a_stop_while_the_worker_runs_releases_and_starts_nothing(machine: Machine, agent: Agent):
    name = publish(machine)
    work = agent.take()["work"]
    machine.rig.api("POST", "/v1/streams/stadium/stop")
    agent.report(work, "ended", detail="stopped by an operator")
    assert machine.ended(name) == "SUCCEEDED"
    assert machine.lease().phase is Phase.FREE
    assert machine.rig.executions() == [name]


def test_a_second_execution_ends_at_once_and_leaves_the_first_alone(machine: Machine, agent: Agent):
    name = publish(machine)
    work = agent.take()["work"]
    machine.start("another")
    assert machine.ended("another") == "SUCCEEDED"
    assert machine.states("another") == ["AcquireLease", "Acquired?", "NotOurs"]
    assert machine.lease().execution == name
    agent.beat(work)


def test_a_publisher_that_returned_meanwhile_is_served_by_a_new_execution(machine: Machine, agent: Agent):
    name = publish(machine)
    work = agent.take()["work"]
    machine.rig.unpublish()
    assert machine.rig.publish(source_id="src-2").body["started"] is False
    agent.report(work, "source_lost")
    machine.ended(name)
    follower = agent.take()["work"]
    assert follower["generation"] == 2
    assert follower["execution"] != name


def test_a_row_that_changed_hands_before_the_token_arrives_is_not_written(machine: Machine, agent: Agent):
    """SuperviseWorker's condition: a generation that is over gets no token."""
    name = publish(machine)
    message = machine.message()
    machine.rig.call(
        "release_lease", {"stream_id": "stadium", "execution": name, "state": {"error": {"Error": "X"}}}
    )
    before = machine.rig.record()
    machine.succeed(message["claim_token"], {"agent_id": "agent-1"})
    assert machine.ended(name) == "SUCCEEDED"
    assert machine.rig.record().lease.task_token == ""
    assert machine.rig.record().lease.generation >= before.lease.generation


class TestRollOver:
    @pytest.fixture
    def policy(self) -> SupervisionPolicy:
        # Longer heartbeats than one execution's time: only the latter is over.
        return SHORT.model_copy(update={"heartbeat_s": 6, "supervise_timeout_s": 2})

    def test_a_successor_adopts_the_worker_on_the_same_generation(self, machine: Machine, agent: Agent):
        name = publish(machine)
        work = agent.take()["work"]
        old_token = machine.lease().task_token

        def rolled() -> str | None:
            # The token may be dead and its successor not there yet: the agent waits, as it does in reality.
            with suppress(machine.rig.stepfunctions.exceptions.ClientError):
                agent.beat(work)
            lease = machine.lease()
            return lease.execution if lease.execution != name else None

        eventually(rolled, "the roll-over")
        new_token = agent.token(work, other_than=old_token)
        lease = machine.lease()
        assert (lease.generation, lease.phase, lease.agent_id) == (1, Phase.RUNNING, "agent-1")
        assert new_token != old_token
        assert machine.ended(name) == "SUCCEEDED"
        assert machine.states(name)[-2:] == ["StartSuccessor", "RolledOver"]
        assert machine.rig.record().restarts_ms == ()

        def replaced() -> bool:
            # On a slow machine the successor rolls over in turn, with a token that is dead for a moment.
            token = machine.lease().task_token
            with suppress(machine.rig.stepfunctions.exceptions.ClientError):
                if token:
                    machine.succeed(token, {"outcome": "crashed"})
            return machine.lease().generation == 2

        eventually(replaced, "the next generation")
        again = agent.take()["work"]
        assert again == {**work, "generation": 2, "execution": again["execution"]}
        assert again["execution"] != name


class TestFailingFunctions:
    """Lambda fails in the middle; the lease is released, or the execution fails and execution_watch releases."""

    @pytest.mark.parametrize("function", ["acquire_lease", "classify_outcome", "release_lease"])
    def test_one_failure_is_tried_again(self, machine: Machine, agent: Agent, function: str):
        machine.functions.failing[function] = 1
        name = publish(machine)
        work = agent.take()["work"]
        machine.rig.unpublish()
        agent.report(work, "source_lost")
        assert machine.ended(name) == "SUCCEEDED"
        assert machine.lease().phase is Phase.FREE
        assert machine.functions.calls.count(function) == 2
        assert machine.lease().generation == 1


class TestBrokenFunctions:
    """A function fails for good. One retry instead of five: the rest would only take longer."""

    @pytest.fixture
    def retries(self) -> int:
        return 1

    def test_without_acquire_nothing_is_held_and_the_execution_ends(self, machine: Machine):
        machine.functions.failing["acquire_lease"] = 1_000
        name = publish(machine)
        assert machine.ended(name) == "SUCCEEDED"
        assert machine.states(name) == ["AcquireLease", "ReleaseLease", "Released"]
        assert machine.lease().phase is Phase.FREE

    def test_without_classify_the_lease_is_released_and_the_stream_goes_on(
        self, machine: Machine, agent: Agent
    ):
        name = publish(machine)
        machine.functions.failing["classify_outcome"] = 2
        agent.report(agent.take()["work"], "crashed")
        assert machine.ended(name) == "SUCCEEDED"
        assert machine.rig.record().last_outcome is Outcome.CRASHED
        follower = agent.take()["work"]
        assert (follower["generation"], follower["execution"] == name) == (2, False)

    def test_without_release_the_execution_fails_and_the_watch_releases(self, machine: Machine, agent: Agent):
        name = publish(machine)
        machine.functions.failing["release_lease"] = 1_000
        work = agent.take()["work"]
        machine.rig.unpublish()
        agent.report(work, "source_lost")
        assert machine.ended(name) == "FAILED"
        assert machine.lease().execution == name
        given = '{"stream_id":"stadium","adopt_from":"","attempt":0}'
        machine.rig.call(
            "execution_watch",
            {"id": "1", "detail": {"name": name, "status": "FAILED", "input": given}},
        )
        lease = machine.lease()
        assert (lease.phase, lease.generation) == (Phase.FREE, 1)


def test_work_that_an_operator_gave_up_is_refused_to_agents(machine: Machine, agent: Agent):
    publish(machine)
    message = machine.message()
    machine.rig.api("POST", "/v1/streams/stadium/stop")
    with pytest.raises(LeaseRefusedError):
        agent.claim(message)
    lease = machine.lease()
    assert (lease.phase, lease.generation) == (Phase.FREE, 1)
