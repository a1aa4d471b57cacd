"""rotate_tls as it is deployed, with scripted functions and a scripted host: what follows what, above all a failure.

What it does with real ones, tests/integration/media_cache/test_rotate_tls.py shows.
"""

import json
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.awslambda_simple.models import LambdaSimpleBackend
from moto.ssm.models import SimpleSystemManagerBackend

from tests.statemachine.machine import PLACEHOLDER, empty_zip, eventually

DEFINITION = Path(__file__).parents[2] / "infra/statemachines/rotate_tls.asl.json"
WHOLE: dict[str, Any] = json.loads(DEFINITION.read_text())
STATES: dict[str, dict[str, Any]] = WHOLE["States"]
TASKS = {name: state for name, state in STATES.items() if state["Type"] == "Task"}
FUNCTIONS = ("StartTlsRotation", "CheckTls", "PublishTlsBundle", "SettleTlsStores")
VERSIONS = {"parameter": 2, "chain": "3a7bd3e2360a", "secret": "EXAMPLE1-90ab"}
ROTATE = {"verdict": "rotate", "old": "0" * 64, "new": "1" * 64, "vouching": ["0" * 64], "adding": ["1" * 64]}
NO_RETRIES = re.compile(r'"Retry": \[\s*\{.*?\}\s*\],\s*', re.DOTALL)


class Script:
    """What functions answer and what the host comes to, in order; the last answer stays."""

    def __init__(self) -> None:
        self.answers: dict[str, deque[dict[str, Any] | Exception]] = {
            "plan": deque([ROTATE]),
            "verify": deque([{"verdict": "served", "drop_after_s": 0}]),
            "retire": deque([{"drop": ["0" * 64]}]),
            "verify_back": deque([{"verdict": "back", "drop": ["1" * 64]}]),
            "announce": deque([{"verdict": "announced", "wait_s": 0, "changed": []}]),
            "drop": deque([{"changed": ["voice"]}]),
            "keep": deque([{"verdict": "kept"}]),
            "take_back": deque([{"verdict": "restored"}]),
            "start": deque([{"started": True, "execution": "p3"}]),
        }
        self.host: deque[str] = deque(["Success"])
        self.sent: list[str] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def says(self, step: str, *answers: dict[str, Any] | Exception) -> None:
        self.answers[step] = deque(answers)

    def invoke(
        self, name: str, _qualifier: Any, body: Any, _headers: Any, response_headers: dict[str, str]
    ) -> bytes:
        event = json.loads(body)
        step = event.get("step", "start")
        self.calls.append((step, event))
        answers = self.answers[step]
        answer = answers.popleft() if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            response_headers["x-amz-function-error"] = "Unhandled"
            return json.dumps({"errorType": type(answer).__name__, "errorMessage": str(answer)}).encode()
        return json.dumps(answer).encode()

    def events(self, step: str) -> list[dict[str, Any]]:
        return [event for called, event in self.calls if called == step]


class Machine:
    def __init__(self, script: Script) -> None:
        self.script = script
        self.stepfunctions = boto3.client("stepfunctions", region_name="us-east-1")
        lambda_ = boto3.client("lambda", region_name="us-east-1")
        role = boto3.client("iam", region_name="us-east-1").create_role(
            RoleName="any", AssumeRolePolicyDocument="{}"
        )["Role"]["Arn"]
        arns = {
            f"{name}Arn": lambda_.create_function(
                FunctionName=name,
                Runtime="python3.11",
                Role=role,
                Handler="handler.handler",
                Code={"ZipFile": empty_zip()},
            )["FunctionArn"]
            for name in FUNCTIONS
        }
        values = {**arns, "HostDocument": "livedub-prod-host-action", "InstanceId": "i-0123456789abcdef0"}
        text = PLACEHOLDER.sub(lambda found: values[found[1]], NO_RETRIES.sub("", DEFINITION.read_text()))
        # As deployed, but for the patience.
        text = text.replace('"Seconds": 2', '"Seconds": 0')
        self.arn = self.stepfunctions.create_state_machine(name="rotate_tls", definition=text, roleArn=role)[
            "stateMachineArn"
        ]

    def run(self) -> tuple[str, list[str]]:
        """How it ended, and the states it went through but for the choices."""
        given = json.dumps({"versions": VERSIONS})
        execution = self.stepfunctions.start_execution(stateMachineArn=self.arn, input=given)["executionArn"]
        ended = eventually(
            lambda: (
                (found := self.stepfunctions.describe_execution(executionArn=execution))["status"]
                != "RUNNING"
                and found
            ),
            "the end",
        )
        pages = self.stepfunctions.get_paginator("get_execution_history").paginate(executionArn=execution)
        entered = [
            event["stateEnteredEventDetails"]["name"]
            for page in pages
            for event in page["events"]
            if "stateEnteredEventDetails" in event
        ]
        states = [state for state in entered if not state.endswith("?")]
        return ended.get("error", ended["status"]), states


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, script: Script) -> Iterator[Machine]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    send = SimpleSystemManagerBackend.send_command

    def sent(self: Any, **kwargs: Any) -> Any:
        assert kwargs["document_name"] == "livedub-prod-host-action"
        assert kwargs["instance_ids"] == ["i-0123456789abcdef0"]
        script.sent += kwargs["parameters"]["action"]
        return send(self, **kwargs)

    def invocation(_self: Any, command_id: str, instance_id: str, _plugin: str | None) -> dict[str, Any]:
        status = script.host.popleft() if len(script.host) > 1 else script.host[0]
        return {"CommandId": command_id, "InstanceId": instance_id, "Status": status}

    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}, "lambda": {"use_docker": False}}):
        monkeypatch.setattr(
            LambdaSimpleBackend, "invoke", lambda _self, *arguments, **more: script.invoke(*arguments, **more)
        )
        monkeypatch.setattr(SimpleSystemManagerBackend, "send_command", sent)
        monkeypatch.setattr(SimpleSystemManagerBackend, "get_command_invocation", invocation)
        yield Machine(script)


SWITCHED = ["LookAtStores", "TellConsumers", "TellHost", "WaitForHost", "AskHost"]
SERVED = [*SWITCHED, "LookAtHost", "MarkServed"]
BACK = ["TakeBack", "TellHostBack", "WaitForHostBack", "AskHostBack", "LookAtHostBack"]


class TestWhatIsGiven:
    def test_consumers_then_host_then_a_look_then_the_old_goes(self, machine: Machine, script: Script):
        states = [*SERVED, "WaitToDrop", "LookAtOld", "DropOld", "Rotated"]
        assert machine.run() == ("SUCCEEDED", states)
        assert script.sent == ["rotate-tls"]
        assert [event["drop"] for event in script.events("drop")] == [["0" * 64]]
        assert script.events("retire")[0]["vouching"] == ROTATE["vouching"]
        assert script.events("verify")[0]["new"] == ROTATE["new"]
        assert all(event["versions"] == VERSIONS for event in script.events("plan"))

    def test_the_other_half_is_waited_for(self, machine: Machine, script: Script):
        wait = {"verdict": "wait", "wait_s": 0}
        script.says("plan", wait, wait, ROTATE)
        error, states = machine.run()
        assert error == "SUCCEEDED"
        assert states[:5] == ["LookAtStores", "WaitForOtherHalf"] * 2 + ["LookAtStores"]
        assert states.count("TellConsumers") == 1

    def test_consumers_get_time_to_read_and_are_asked_again(self, machine: Machine, script: Script):
        wait = {"verdict": "wait", "wait_s": 0, "changed": ["voice"]}
        script.says("announce", wait, script.answers["announce"][0])
        _, states = machine.run()
        assert states[1:5] == ["TellConsumers", "WaitForConsumers", "TellConsumers", "TellHost"]

    @pytest.mark.parametrize("status", ["Pending", "InProgress", "Delayed"])
    def test_the_host_is_asked_until_it_is_done(self, machine: Machine, script: Script, status: str):
        script.host = deque([status, status, "Success"])
        _, states = machine.run()
        assert states.count("AskHost") == 3

    @pytest.mark.parametrize(
        ("verdict", "states"),
        [("unchanged", ["MarkUnchanged", "Unchanged"]), ("nothing", ["NothingGiven"])],
    )
    def test_nothing_to_do(self, machine: Machine, script: Script, verdict: str, states: list[str]):
        script.says("plan", {"verdict": verdict})
        assert machine.run() == ("SUCCEEDED", ["LookAtStores", *states])
        assert script.sent == []


class TestSomethingNewer:
    @pytest.mark.parametrize("step", ["plan", "announce", "verify"])
    def test_it_is_handed_over_and_nothing_is_taken_back(self, machine: Machine, script: Script, step: str):
        script.says(step, {"verdict": "superseded", "changed": []})
        status, states = machine.run()
        assert (status, states[-2:]) == ("SUCCEEDED", ["HandOver", "HandedOver"])
        assert "TakeBack" not in states
        assert len(script.events("start")) == 1

    def test_what_failed_meanwhile_is_the_newer_ones_business(self, machine: Machine, script: Script):
        script.says("verify", {"verdict": "failed", "reason": "as told"})
        script.says("take_back", {"verdict": "superseded"})
        status, states = machine.run()
        assert (status, states[-3:]) == ("SUCCEEDED", ["TakeBack", "HandOver", "HandedOver"])
        assert script.sent == ["rotate-tls"]

    def test_a_hand_over_that_fails_is_said(self, machine: Machine, script: Script):
        script.says("plan", {"verdict": "superseded"})
        script.says("start", OSError("as told"))
        assert machine.run()[0] == "TlsRotationNotHandedOver"


class TestGoingBack:
    def test_a_pair_that_no_consumer_would_take_leaves_the_stores_alone(
        self, machine: Machine, script: Script
    ):
        script.says("plan", {"verdict": "refused", "reason": "as told"})
        assert machine.run() == ("TlsRotationRolledBack", ["LookAtStores", "TakeBack", "RolledBack"])
        assert script.sent == []
        assert script.events("drop") == []

    @pytest.mark.parametrize("status", ["Failed", "TimedOut", "Cancelled", "Undeliverable"])
    def test_a_host_that_does_not_do_it(self, machine: Machine, script: Script, status: str):
        script.host = deque([status, "Success"])
        assert machine.run() == ("TlsRotationRolledBack", [*SWITCHED, *BACK, "DropNew", "RolledBack"])
        assert script.sent == ["rotate-tls", "restore-tls"]
        assert [event["drop"] for event in script.events("drop")] == [["1" * 64]]
        (look,) = script.events("verify_back")
        assert (look["old"], look["adding"]) == (ROTATE["old"], ROTATE["adding"])

    @pytest.mark.parametrize("answer", [{"verdict": "failed", "reason": "as told"}, OSError("as told")])
    def test_a_certificate_that_is_not_seen(self, machine: Machine, script: Script, answer: Any):
        script.says("verify", answer)
        error, states = machine.run()
        assert (error, states[len(SWITCHED) :]) == (
            "TlsRotationRolledBack",
            ["LookAtHost", *BACK, "DropNew", "RolledBack"],
        )

    def test_consumers_that_cannot_be_told(self, machine: Machine, script: Script):
        """Some may have been: what the new one needs goes out again, and the host is left alone."""
        script.says("announce", OSError("as told"))
        states = ["LookAtStores", "TellConsumers", "TakeBack", "LookAtHostBack", "DropNew", "RolledBack"]
        assert machine.run() == ("TlsRotationRolledBack", states)
        assert script.sent == []

    @pytest.mark.parametrize("step", ["take_back", "drop"])
    def test_a_way_back_that_breaks_is_another_error(self, machine: Machine, script: Script, step: str):
        script.says("verify", {"verdict": "failed"})
        script.says(step, OSError("as told"))
        assert machine.run()[0] == "TlsRotationNotRolledBack"

    def test_so_is_a_host_that_does_not_serve_the_old_one(self, machine: Machine, script: Script):
        script.says("verify", {"verdict": "failed"})
        script.says("verify_back", {"verdict": "failed", "drop": []})
        error, states = machine.run()
        assert (error, states[-1]) == ("TlsRotationNotRolledBack", "NotRolledBack")
        assert script.events("drop") == []

    @pytest.mark.parametrize("step", ["keep", "retire", "drop"])
    def test_what_is_served_is_never_taken_back(self, machine: Machine, script: Script, step: str):
        script.says(step, OSError("as told"))
        error, states = machine.run()
        assert error == "TlsRotationNotFinished"
        assert "TakeBack" not in states


def targets(state: dict[str, Any]) -> set[str]:
    following = [state.get("Next"), state.get("Default")]
    following += [choice["Next"] for choice in state.get("Choices", [])]
    following += [catch["Next"] for catch in state.get("Catch", [])]
    return {name for name in following if name}


def reachable(start: str) -> set[str]:
    found, left = set[str](), [start]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += targets(STATES[name])
    return found


class TestDefinition:
    def test_every_state_is_reached(self):
        assert reachable(WHOLE["StartAt"]) == set(STATES)

    def test_from_the_look_at_the_host_on_nothing_is_taken_back(self):
        assert "TakeBack" not in reachable("MarkServed")

    def test_until_then_everything_that_fails_is(self):
        for name in ("LookAtStores", "TellConsumers", "TellHost", "AskHost", "LookAtHost"):
            assert [catch["Next"] for catch in STATES[name]["Catch"]] == ["TakeBack"]

    @pytest.mark.parametrize("name", sorted(TASKS))
    def test_every_task_is_bounded_repeated_and_caught(self, name: str):
        task = TASKS[name]
        assert task["TimeoutSeconds"] == 60
        assert task["Retry"][0]["ErrorEquals"] == ["States.ALL"]
        assert [catch["ErrorEquals"] for catch in task["Catch"]] == [["States.ALL"]]
        assert task["Catch"][0]["ResultPath"] == "$.error"

    def test_longest_wait_and_drop_fit_into_it(self):
        from livedub.media_cache.tls_rotation.rotation_settings import (  # noqa: PLC0415
            TlsCheckSettings,
            TlsPublishSettings,
        )

        longest = sum(
            next(bound.le for bound in settings.model_fields[name].metadata if hasattr(bound, "le"))
            for settings, name in (
                (TlsCheckSettings, "pair_wait_s"),
                (TlsCheckSettings, "drop_after_s"),
                (TlsPublishSettings, "settle_s"),
            )
        )
        assert longest + 86_400 < WHOLE["TimeoutSeconds"]

    def test_looks_for_the_other_half_stay_far_under_the_history_limit(self):
        events = sum(6 if name in TASKS else 2 for name in ("LookAtStores", "What?", "WaitForOtherHalf"))
        assert 1_000 * events < 25_000 * 0.75
