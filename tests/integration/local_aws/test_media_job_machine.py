"""The library's state machine as it is deployed, with scripted functions and hosts: what follows what, above all what
follows a failure. What it does with real ones, tests/integration/library_jobs shows.

A job's id is its script: the route, then words.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from typing import Any

import pytest

from tests.integration.local_aws.rig import ROOT, Aws, name

DEFINITION = ROOT / "infra/statemachines/media_job.asl.json"
STATES: dict[str, dict[str, Any]] = json.loads(DEFINITION.read_text())["States"]
RANGE: dict[str, Any] = STATES["DubRanges"]["ItemProcessor"]["States"]["DubRange"]
TASKS = {each: state for each, state in {**STATES, "DubRange": RANGE}.items() if state["Type"] == "Task"}
ON_HOSTS = {each: state for each, state in TASKS.items() if "waitForTaskToken" in state["Resource"]}
CODE = """
def route(event, context):
    return {"job_id": event["job_id"], "route": event["job_id"].split()[0], "hosts": 2}

def run(event, context):
    if "broken" in event["job_id"]:
        raise RuntimeError("no room")
    return {"state": "COMPLETED", "attempt": 1}

def end(event, context):
    if "unheard" in event["job_id"]:
        raise RuntimeError("nobody listens")
    return {"state": "FAILED" if "error" in event else "COMPLETED", "attempt": 1, "caught": event.get("error")}
"""
RANGES = [{"index": index} for index in range(4)]


@dataclass
class Machine:
    aws: Aws
    arn: str
    queue_url: str

    def start(self, script: str) -> str:
        job_id = f"{script} {uuid.uuid4().hex}"
        return self.aws.machines.start_execution(
            stateMachineArn=self.arn, input=json.dumps({"job_id": job_id, "submission": 1})
        )["executionArn"]

    def work(self) -> dict[str, Any]:
        """The next item for a host, taken off the queue."""
        return self.aws.message(self.queue_url)

    def succeed(self, item: dict[str, Any], **output: Any) -> None:
        self.aws.machines.send_task_success(taskToken=item["task_token"], output=json.dumps(output))

    def fail(self, item: dict[str, Any], error: str) -> None:
        self.aws.machines.send_task_failure(taskToken=item["task_token"], error=error, cause="as told")

    def ended(self, execution: str) -> tuple[str, list[str]]:
        status = self.aws.ended(execution)["status"]
        pages = self.aws.machines.get_paginator("get_execution_history").paginate(executionArn=execution)
        events = [event for page in pages for event in page["events"]]
        entered = [
            event["stateEnteredEventDetails"]["name"]
            for event in events
            if "stateEnteredEventDetails" in event
        ]
        return status, [each for each in entered if each not in {"Where?", "How?"}]


@pytest.fixture(scope="module")
def machine(aws: Aws) -> Machine:
    queue_url = aws.make_queue()
    arns = {
        each: aws.make_function(CODE, Handler=f"app.{each}", Timeout=20) for each in ("route", "run", "end")
    }
    values = {
        **{f"MediaJob{each.title()}Arn": arn for each, arn in arns.items()},
        "MediaWorkQueueUrl": queue_url,
    }
    text = re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], DEFINITION.read_text())
    # As deployed, but for the patience.
    text = re.sub(r'"IntervalSeconds": \d+', '"IntervalSeconds": 1', text)
    text = re.sub(r'"MaxAttempts": \d+', '"MaxAttempts": 1', text)
    arn = aws.machines.create_state_machine(name=name("media-job"), definition=text, roleArn=aws.role)
    return Machine(aws, arn["stateMachineArn"], queue_url)


def test_what_breaks_in_a_function_is_done_by_a_host(machine: Machine):
    execution = machine.start("function broken")
    item = machine.work()
    assert item["step"] == "job"
    assert item["job_id"].startswith("function broken")
    machine.succeed(item, state="COMPLETED", attempt=2)
    states = ["RouteJob", "RunInFunction", "RunOnHost", "ReportEnd", "Ended"]
    assert machine.ended(execution) == ("SUCCEEDED", states)


def test_a_host_may_ask_for_another_try_which_has_a_token_of_its_own(machine: Machine):
    execution = machine.start("host")
    first = machine.work()
    machine.fail(first, "Job.Retry")
    second = machine.work()
    assert second["task_token"] != first["task_token"]
    assert {**second, "task_token": ""} == {**first, "task_token": ""}
    machine.succeed(second, state="COMPLETED", attempt=2)
    assert machine.ended(execution) == ("SUCCEEDED", ["RouteJob", "RunOnHost", "ReportEnd", "Ended"])


@pytest.mark.parametrize("error", ["Job.Ended", "Job.Unknown"])
def test_what_a_host_cannot_do_is_reported_and_not_repeated(machine: Machine, error: str):
    execution = machine.start("host")
    machine.fail(machine.work(), error)
    assert machine.ended(execution) == ("FAILED", ["RouteJob", "RunOnHost", "ReportError", "Failed"])


def test_an_end_that_cannot_be_reported_says_so(machine: Machine):
    execution = machine.start("function unheard")
    assert machine.ended(execution) == ("FAILED", ["RouteJob", "RunInFunction", "ReportEnd", "NotReported"])
    found = machine.aws.machines.describe_execution(executionArn=execution)
    assert found["error"] == "EndNotReported"


def test_ranges_are_dubbed_at_once_and_joined_in_the_plans_order(machine: Machine):
    execution = machine.start("fan_out")
    split = machine.work()
    assert split["step"] == "split"
    machine.succeed(split, state="PROCESSING", attempt=3, plan={"ranges": RANGES})
    at_once = [machine.work(), machine.work()]
    # As many as `hosts` says; the next one comes when one of them is done.
    assert "Messages" not in machine.aws.queues.receive_message(QueueUrl=machine.queue_url, WaitTimeSeconds=0)
    for item in reversed(at_once):
        machine.succeed(item, state="PROCESSING", attempt=3)
    rest = [machine.work(), machine.work()]
    for item in rest:
        machine.succeed(item, state="PROCESSING", attempt=3)
    for item in (*at_once, *rest):
        assert (item["step"], item["attempt"], item["range_count"]) == ("range", 3, 4)
    assert sorted(item["dub_range"]["index"] for item in (*at_once, *rest)) == [0, 1, 2, 3]
    join = machine.work()
    assert (join["step"], join["attempt"], join["plan"]) == ("join", 3, {"ranges": RANGES})
    machine.succeed(join, state="COMPLETED", attempt=3)
    states = ["RouteJob", "SplitDub", "DubRanges", "JoinParts", "ReportEnd", "Ended"]
    assert machine.ended(execution) == ("SUCCEEDED", states)


def test_a_range_that_cannot_be_dubbed_fails_the_job(machine: Machine):
    execution = machine.start("fan_out")
    machine.succeed(machine.work(), state="PROCESSING", attempt=3, plan={"ranges": RANGES[:2]})
    machine.fail(machine.work(), "Job.Ended")
    machine.succeed(machine.work(), state="PROCESSING", attempt=3)
    # AWS fails the map here. moto lets it pass, and whoever joins finds that the job has ended, or a part missing.
    machine.fail(machine.work(), "Job.Ended")
    status, states = machine.ended(execution)
    assert (status, states[-2:]) == ("FAILED", ["ReportError", "Failed"])


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_task_is_bounded_and_its_failure_goes_somewhere(name: str):
    task = TASKS[name]
    assert task["TimeoutSeconds"] < json.loads(DEFINITION.read_text())["TimeoutSeconds"]
    # A range's failure is its map's, which catches it.
    caught = STATES["DubRanges"]["Catch"] if name == "DubRange" else task["Catch"]
    assert [catch["ErrorEquals"] for catch in caught] == [["States.ALL"]]


@pytest.mark.parametrize("name", sorted(ON_HOSTS))
def test_waiting_in_the_queue_is_no_failure(name: str):
    """A heartbeat's clock would run from the submission; hosts keep their message instead."""
    task = ON_HOSTS[name]
    assert "HeartbeatSeconds" not in task
    assert task["TimeoutSeconds"] == 2 * 86_400
    assert [retry["ErrorEquals"] for retry in task["Retry"]] == [["Job.Retry"]]
