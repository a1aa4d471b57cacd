"""Runs the state machine's own ASL file: the states it has, not a retelling of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.unit.supervision.simulation.kernel import Host, Process, Signal
from tests.unit.supervision.simulation.world import LambdaDownError, StoreDownError, World

ROOT = Path(__file__).resolve().parents[4]
ASL = json.loads((ROOT / "infra/statemachines/stream_supervisor.asl.json").read_text())
_WATCHED = ("FAILED", "TIMED_OUT", "ABORTED")


class TaskFailedError(Exception):
    """A task ended with an error name that Retry and Catch match."""

    def __init__(self, name: str, cause: str = "") -> None:
        super().__init__(name)
        self.name = name
        self.cause = cause


@dataclass
class Execution:
    name: str
    host: Host
    started_at_ms: int
    stream_id: str
    status: str = "RUNNING"
    tokens: list[str] = field(default_factory=list)


@dataclass
class _Token:
    signal: Signal
    beaten_at_ms: int


class Machine:
    """Executions, their task tokens and the queue they fill."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.executions: dict[str, Execution] = {}
        self._tokens: dict[str, _Token] = {}
        self.invoke: Callable[[str, dict[str, Any]], Process]
        self.send: Callable[[dict[str, Any]], None]
        self.watched: Callable[[Execution], None]

    def start(self, name: str, given: dict[str, Any]) -> bool:
        """StartExecution: False when the name is used up; the same start twice is one."""
        known = self.executions.get(name)
        if known is not None:
            return known.status == "RUNNING"
        world = self._world
        host = Host(world.sim, name)
        execution = Execution(name, host, world.sim.now, given["stream_id"])
        self.executions[name] = execution
        world.count("executions")
        world.sim.spawn(self._run(execution, given), host)
        return True

    def abort(self, execution: Execution, status: str) -> None:
        """Somebody stops it, or it fails by itself: no state of it runs any more."""
        if execution.status == "RUNNING":
            execution.host.kill()
            self._end(execution, status)

    def succeed(self, token: str, output: dict[str, Any]) -> bool:
        waiting = self._tokens.pop(token, None)
        if waiting is None:
            return False
        waiting.signal.set(output)
        return True

    def beat(self, token: str) -> bool:
        waiting = self._tokens.get(token)
        if waiting is None:
            return False
        waiting.beaten_at_ms = self._world.sim.now
        return True

    def running(self, stream_id: str) -> list[Execution]:
        return [
            execution
            for execution in self.executions.values()
            if execution.stream_id == stream_id and execution.status == "RUNNING"
        ]

    def _end(self, execution: Execution, status: str) -> None:
        execution.status = status
        for token in execution.tokens:
            self._tokens.pop(token, None)
        if status in _WATCHED:
            self.watched(execution)

    def _run(self, execution: Execution, data: dict[str, Any]) -> Process:
        name = ASL["StartAt"]
        while True:
            state = ASL["States"][name]
            kind = state["Type"]
            if kind in {"Succeed", "Fail"}:
                self._end(execution, "SUCCEEDED" if kind == "Succeed" else "FAILED")
                return
            if kind == "Choice":
                name = _choose(state, data)
                continue
            if kind == "Wait":
                yield int(_at(state["SecondsPath"], data, {})) * 1_000
                name = state["Next"]
                continue
            try:
                data, name = yield from self._task(execution, state, data)
            except TaskFailedError:
                self._end(execution, "FAILED")
                return

    def _task(
        self, execution: Execution, state: dict[str, Any], data: dict[str, Any]
    ) -> Generator[int | Signal, Any, tuple[dict[str, Any], str]]:
        retried = 0
        while True:
            try:
                result = yield from self._call(execution, state, data)
            except TaskFailedError as error:
                pause_s = _retry_s(state, error, retried)
                if pause_s is not None:
                    retried += 1
                    yield pause_s * 1_000
                    continue
                catcher = _catcher(state, error)
                caught = {"Error": error.name, "Cause": error.cause}
                return _put(data, catcher["ResultPath"], caught), catcher["Next"]
            if "ResultSelector" in state:
                result = _resolve(state["ResultSelector"], result, {})
            merged = _put(data, state.get("ResultPath", "$"), result)
            return _at(state.get("OutputPath", "$"), merged, {}), state["Next"]

    def _call(self, execution: Execution, state: dict[str, Any], data: dict[str, Any]) -> Process:
        context: dict[str, Any] = {
            "Execution": {"Name": execution.name, "StartTime": execution.started_at_ms},
            "StateMachine": {"Id": "machine"},
        }
        resource = state["Resource"].removeprefix("arn:aws:states:::")
        if resource.endswith(".waitForTaskToken"):
            return (yield from self._wait_for_token(execution, state, data, context, resource))
        parameters = _resolve(state["Parameters"], data, context)
        yield self._world.sim.rng.randint(10, 40)
        if resource == "lambda:invoke":
            try:
                answer = yield from self.invoke(parameters["FunctionName"], parameters["Payload"])
            except (LambdaDownError, StoreDownError) as error:
                raise TaskFailedError("Lambda.Unknown", type(error).__name__) from error
            return {"Payload": json.loads(json.dumps(answer))}
        if resource != "states:startExecution":
            raise AssertionError(resource)
        if not self.start(parameters["Name"], parameters["Input"]):
            raise TaskFailedError("StepFunctions.ExecutionAlreadyExistsException")
        return {"ExecutionArn": parameters["Name"]}

    def _wait_for_token(
        self,
        execution: Execution,
        state: dict[str, Any],
        data: dict[str, Any],
        context: dict[str, Any],
        resource: str,
    ) -> Process:
        sim = self._world.sim
        token = f"token-{len(self._tokens)}-{sim.rng.getrandbits(48):x}"
        waiting = _Token(Signal(), sim.now)
        self._tokens[token] = waiting
        execution.tokens.append(token)
        parameters = _resolve(state["Parameters"], data, {**context, "Task": {"Token": token}})
        yield sim.rng.randint(5, 30)
        self._submit(resource, parameters)
        timeout_s = _at(state["TimeoutSecondsPath"], data, {})
        sim.call(timeout_s * 1_000, self._time_out, token, waiting)
        if "HeartbeatSecondsPath" in state:
            heartbeat_ms = _at(state["HeartbeatSecondsPath"], data, {}) * 1_000
            waiting.beaten_at_ms = sim.now
            sim.call(heartbeat_ms, self._listen, token, waiting, heartbeat_ms)
        return (yield waiting.signal)

    def _submit(self, resource: str, parameters: dict[str, Any]) -> None:
        if self._world.happens(self._world.faults.store_fails / 2):
            raise TaskFailedError("States.TaskFailed", "the service did not answer")
        if resource.startswith("sqs:"):
            self.send(json.loads(json.dumps(parameters["MessageBody"])))
            return
        values = parameters["ExpressionAttributeValues"]
        written = self._world.store.hand_over_token(
            parameters["Key"]["stream_id"]["S"],
            int(values[":generation"]["N"]),
            values[":execution"]["S"],
            values[":task_token"]["S"],
        )
        if not written:
            raise TaskFailedError("DynamoDb.ConditionalCheckFailedException")

    def _time_out(self, token: str, waiting: _Token) -> None:
        if self._tokens.pop(token, None) is not None:
            waiting.signal.set(error=TaskFailedError("States.Timeout"))

    def _listen(self, token: str, waiting: _Token, heartbeat_ms: int) -> None:
        if token not in self._tokens:
            return
        left_ms = waiting.beaten_at_ms + heartbeat_ms - self._world.sim.now
        if left_ms > 0:
            self._world.sim.call(left_ms, self._listen, token, waiting, heartbeat_ms)
            return
        del self._tokens[token]
        waiting.signal.set(error=TaskFailedError("States.HeartbeatTimeout"))


def _at(path: str, data: Any, context: dict[str, Any]) -> Any:
    if path.startswith("States.Format"):
        return str(_at(path[path.index("$") : -1], data, context))
    found = context if path.startswith("$$") else data
    for name in path.lstrip("$").split("."):
        if name:
            found = found[name]
    return found


def _resolve(template: Any, data: Any, context: dict[str, Any]) -> Any:
    if not isinstance(template, dict):
        return template
    return {
        name.removesuffix(".$"): _at(value, data, context)
        if name.endswith(".$")
        else _resolve(value, data, context)
        for name, value in template.items()
    }


def _put(data: dict[str, Any], path: str, result: Any) -> Any:
    return result if path == "$" else {**data, path.removeprefix("$."): result}


def _choose(state: dict[str, Any], data: dict[str, Any]) -> str:
    for choice in state["Choices"]:
        if _at(choice["Variable"], data, {}) == choice["StringEquals"]:
            return choice["Next"]
    return state["Default"]


def _retry_s(state: dict[str, Any], error: TaskFailedError, retried: int) -> int | None:
    for rule in state.get("Retry", []):
        if _matches(rule, error):
            if retried >= rule["MaxAttempts"]:
                return None
            return min(rule["IntervalSeconds"] * rule["BackoffRate"] ** retried, rule["MaxDelaySeconds"])
    return None


def _catcher(state: dict[str, Any], error: TaskFailedError) -> dict[str, Any]:
    for rule in state.get("Catch", []):
        if _matches(rule, error):
            return rule
    raise error


def _matches(rule: dict[str, Any], error: TaskFailedError) -> bool:
    return error.name in rule["ErrorEquals"] or "States.ALL" in rule["ErrorEquals"]
