"""The deployed definition in moto's interpreter, with the real handlers as its functions and a scripted agent."""

from __future__ import annotations

import io
import json
import re
import secrets
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from livedub.supervision.lease import bind, claim, renew
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import StreamRecord
from tests.unit.functions.rig import ASL, Rig

BOUND_S = 60.0
PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
STATE_FUNCTIONS = {
    "AcquireLeaseArn": "acquire_lease",
    "ClassifyOutcomeArn": "classify_outcome",
    "ReleaseLeaseArn": "release_lease",
}
_T = TypeVar("_T")


def eventually(found: Callable[[], _T | None], what: str) -> _T:
    """Ask until there is an answer; the engine runs in threads of its own and tells nobody."""
    give_up_at = time.monotonic() + BOUND_S
    while time.monotonic() < give_up_at:
        answer = found()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {BOUND_S:g} s")


def once_begun(call: Callable[[], Any]) -> None:
    """Repeat a call that moto fails while any execution has been accepted and not begun."""

    def through() -> bool:
        try:
            call()
        except AttributeError as error:
            assert "callback_pool_manager" in str(error)  # noqa: PT017 - anything else is a real failure
            return False
        return True

    eventually(through, "a call past an execution that begins")


def definition(substitutions: dict[str, str], *, retries: int | None = None) -> str:
    """The file as CloudFormation fills it in; an unknown placeholder is an error."""
    text = PLACEHOLDER.sub(lambda found: substitutions[found[1]], ASL.read_text())
    return text if retries is None else re.sub(r'"MaxAttempts": \d+', f'"MaxAttempts": {retries}', text)


def empty_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("handler.py", "")
    return buffer.getvalue()


class LocalFunctions:
    """Stands in for Lambda: runs our handlers in this process, or fails as told."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.suffix = f"-{secrets.token_hex(4)}"
        """In the names of this test's functions: a thread that another test's execution left behind finds none of them."""
        self.failing: dict[str, int] = {}
        """Calls still to fail, by function."""
        self.calls: list[str] = []

    def invoke_for_moto(
        self,
        function_name: str,
        _qualifier: str | None,
        body: Any,
        _headers: Any,
        response_headers: dict[str, str],
    ) -> bytes:
        """What takes the place of moto's own backend method, which only ever succeeds."""
        called = function_name.rsplit(":", 1)[-1]
        name = called.removesuffix(self.suffix)
        ours = name != called
        if ours:
            self.calls.append(name)
        if not ours or self.failing.get(name, 0):
            self.failing[name] = self.failing.get(name, 0) - 1
            response_headers["x-amz-function-error"] = "Unhandled"
            return json.dumps({"errorType": "StoreUnavailableError", "errorMessage": "cut"}).encode()
        return json.dumps(self.rig.call(name, json.loads(body))).encode()


class Machine:
    """One state machine, its queue, and what to look at."""

    def __init__(self, rig: Rig, sqs: Any, queue_url: str, functions: LocalFunctions) -> None:
        self.rig = rig
        self.sqs = sqs
        self.queue_url = queue_url
        self.functions = functions

    def arn(self, name: str) -> str:
        return self.rig.arn.replace(":stateMachine:", ":execution:") + f":{name}"

    def status(self, name: str) -> str:
        # Not DescribeExecution: moto cannot describe one whose output holds a date.
        listed = self.rig.stepfunctions.list_executions(stateMachineArn=self.rig.arn)["executions"]
        return {execution["name"]: execution["status"] for execution in listed}[name]

    def ended(self, name: str) -> str:
        """The execution's status, once it has ended."""

        def closed() -> str | None:
            status = self.status(name)
            return status if status != "RUNNING" else None

        return eventually(closed, f"the end of {name}")

    def history(self, name: str) -> list[dict[str, Any]]:
        paginator = self.rig.stepfunctions.get_paginator("get_execution_history")
        return [event for page in paginator.paginate(executionArn=self.arn(name)) for event in page["events"]]

    def states(self, name: str) -> list[str]:
        """The states it went through."""
        return [
            event["stateEnteredEventDetails"]["name"]
            for event in self.history(name)
            if "stateEnteredEventDetails" in event
        ]

    def message(self) -> dict[str, Any]:
        """The next work item in the queue, taken off it."""

        def received() -> dict[str, Any] | None:
            found = self.sqs.receive_message(QueueUrl=self.queue_url, WaitTimeSeconds=0).get("Messages", [])
            if not found:
                return None
            self.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=found[0]["ReceiptHandle"])
            return json.loads(found[0]["Body"])

        return eventually(received, "a work item")

    def start(self, name: str, stream_id: str = "stadium", adopt_from: str = "") -> None:
        self.rig.stepfunctions.start_execution(
            stateMachineArn=self.rig.arn,
            name=name,
            input=json.dumps({"stream_id": stream_id, "adopt_from": adopt_from, "attempt": 0}),
        )

    def succeed(self, token: str, output: dict[str, Any]) -> None:
        answer = json.dumps(output)
        once_begun(lambda: self.rig.stepfunctions.send_task_success(taskToken=token, output=answer))

    def succeed_too_late(self, token: str, output: dict[str, Any]) -> None:
        """A success nobody waits for: refused by AWS, without effect on moto."""
        with suppress(self.rig.stepfunctions.exceptions.ClientError):
            self.succeed(token, output)

    def lease(self, stream_id: str = "stadium") -> Any:
        return self.rig.record(stream_id).lease


class Agent:
    """What a worker host does, by hand."""

    def __init__(self, machine: Machine, policy: SupervisionPolicy, agent_id: str = "agent-1") -> None:
        self.machine = machine
        self.policy = policy
        self.agent_id = agent_id

    def take(self) -> dict[str, Any]:
        """Take a work item, claim it, wait for the task token, bind; the item."""
        message = self.machine.message()
        self.claim(message)
        self.bind(message["work"])
        return message

    def claim(self, message: dict[str, Any]) -> None:
        work = message["work"]
        self._change(
            work["stream_id"],
            lambda record: claim(
                record,
                generation=work["generation"],
                agent_id=self.agent_id,
                now_ms=self.machine.rig.clock(),
                policy=self.policy,
            ),
        )
        self.machine.succeed(message["claim_token"], {"agent_id": self.agent_id})

    def bind(self, work: dict[str, Any]) -> None:
        self.token(work)
        self._change(
            work["stream_id"],
            lambda record: bind(
                record,
                generation=work["generation"],
                agent_id=self.agent_id,
                publish_token_hash="ab" * 32,
                now_ms=self.machine.rig.clock(),
                policy=self.policy,
            ),
        )

    def token(self, work: dict[str, Any], *, other_than: str = "") -> str:
        """The task token that the state machine puts into the row."""

        def there() -> str | None:
            lease = self.machine.lease(work["stream_id"])
            ours = lease.generation == work["generation"] and lease.task_token != other_than
            return lease.task_token if ours else None

        return eventually(there, "a task token in the row")

    def beat(self, work: dict[str, Any]) -> None:
        self._change(
            work["stream_id"],
            lambda record: renew(
                record,
                generation=work["generation"],
                agent_id=self.agent_id,
                now_ms=self.machine.rig.clock(),
                policy=self.policy,
            ),
        )
        token = self.machine.lease(work["stream_id"]).task_token
        if token:  # none between a roll-over's adoption and its SuperviseWorker
            once_begun(lambda: self.machine.rig.stepfunctions.send_task_heartbeat(taskToken=token))

    def report(self, work: dict[str, Any], outcome: str, **more: Any) -> None:
        token = self.machine.lease(work["stream_id"]).task_token
        self.machine.succeed(token, {"outcome": outcome, **more})

    def _change(self, stream_id: str, rule: Callable[[StreamRecord], StreamRecord]) -> None:
        def of_known(record: StreamRecord | None) -> StreamRecord:
            assert record is not None
            return rule(record)

        self.machine.rig.store.update(stream_id, of_known)
