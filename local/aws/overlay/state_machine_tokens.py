"""Step Functions, task tokens: accepted exactly once, never lost, refused as soon as the task is over."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from moto.core.exceptions import AWSError
from moto.core.responses import EmptyResult
from moto.stepfunctions.exceptions import InvalidToken
from moto.stepfunctions.parser.api import ExecutionStatus
from moto.stepfunctions.parser.asl.eval.callback.callback import (
    CallbackConsumerTimeout,
    CallbackEndpoint,
    CallbackNotifyConsumerError,
    CallbackOutcome,
    CallbackOutcomeFailure,
    CallbackOutcomeSuccess,
    CallbackOutcomeTimedOut,
    HeartbeatTimedOut,
)

from local.aws.overlay.patching import Patch

_CALLBACK = "moto.stepfunctions.parser.asl.eval.callback.callback:CallbackEndpoint"
_BACKEND = "moto.stepfunctions.parser.models:StepFunctionsParserBackend"
_TASKS = "moto.stepfunctions.parser.asl.component.state.exec"
_lock = threading.RLock()
"""Orders every answer to a token against the end of its task."""


# moto's own two have no type, so callers could not tell them apart.
class _TaskTimedOutError(AWSError):
    TYPE = "TaskTimedOut"
    STATUS = 400


class _InvalidOutputError(AWSError):
    TYPE = "InvalidOutput"
    STATUS = 400


def patches() -> list[Patch]:
    """The patches of task tokens."""
    return [
        Patch(
            f"{_CALLBACK}.notify",
            "8a2febb9b274",
            "moto takes a second answer to a token, or one that comes after the time-out, as if it were the first",
            _notify_once,
        ),
        Patch(
            f"{_CALLBACK}.notify_heartbeat",
            "838bf10119e4",
            "moto refuses a heartbeat that arrives before the task waits, and takes one after it ended",
            _heartbeat_while_open,
        ),
        Patch(
            f"{_CALLBACK}.setup_heartbeat_endpoint",
            "bcf8b4650679",
            "moto loses an answer that arrives before the task waits, and hangs until the heartbeat time-out",
            _wake_when_answered,
        ),
        Patch(
            f"{_TASKS}.state_task.service.state_task_service_callback:"
            "StateTaskServiceCallback._eval_wait_for_task_token",
            "061c4a80d1bd",
            "an answer accepted at the instant of the time-out must count; after it none may be accepted",
            _close_after_waiting,
        ),
        Patch(
            f"{_TASKS}.execute_state:ExecutionState._evaluate_with_timeout",
            "c56deda08a42",
            "moto keeps a token open when the task ends by TimeoutSeconds, and gives a retry the used one",
            _token_per_attempt,
        ),
        Patch(
            f"{_BACKEND}.send_task_heartbeat",
            "279ad79cd7a2",
            "moto fails on executions that have not begun, and calls an ended task unknown",
            lambda _original: _send_task_heartbeat,
        ),
        Patch(
            f"{_BACKEND}.send_task_success",
            "2e95c66f0d67",
            "as send_task_heartbeat; and an output that is no JSON must be refused, not fail the execution",
            lambda _original: _send_task_success,
        ),
        Patch(
            f"{_BACKEND}.send_task_failure",
            "2d5a9597cf1d",
            "as send_task_heartbeat; moto looks at closed executions as well",
            lambda _original: _send_task_failure,
        ),
        Patch(
            "moto.stepfunctions.responses:StepFunctionResponse.send_task_failure",
            "f0fed5e80576",
            "moto drops the cause",
            lambda _original: _respond_send_task_failure,
        ),
    ]


def close_tokens(environment: Any) -> None:
    """Refuse every token of an execution from now on and wake whoever waits for one."""
    with _lock:
        for endpoint in list(environment.callback_pool_manager._pool.values()):  # noqa: SLF001 - moto has no other way
            _close(endpoint)


def _open(endpoint: CallbackEndpoint) -> bool:
    return endpoint.consumer_error is None and endpoint.get_outcome() is None


def _close(endpoint: CallbackEndpoint) -> None:
    if endpoint.consumer_error is None:
        endpoint.report(CallbackConsumerTimeout())
    endpoint.interrupt_all()


def _notify_once(original: Any) -> Any:
    def notify(self: CallbackEndpoint, outcome: CallbackOutcome) -> None:
        with _lock:
            if not _open(self):
                raise CallbackNotifyConsumerError(callback_consumer_error=CallbackConsumerTimeout())
            original(self, outcome)

    return notify


def _heartbeat_while_open(original: Any) -> Any:
    def notify_heartbeat(self: CallbackEndpoint) -> bool:
        with _lock:
            if not _open(self):
                raise CallbackNotifyConsumerError(callback_consumer_error=CallbackConsumerTimeout())
            original(self)
            return True

    return notify_heartbeat


def _wake_when_answered(original: Any) -> Any:
    def setup_heartbeat_endpoint(self: CallbackEndpoint, heartbeat_seconds: int) -> Any:
        with _lock:
            endpoint = original(self, heartbeat_seconds=heartbeat_seconds)
            if not _open(self):
                endpoint.notify()
            return endpoint

    return setup_heartbeat_endpoint


def _close_after_waiting(original: Any) -> Any:
    def eval_wait_for_task_token(
        self: Any,
        env: Any,
        timeout_seconds: int,
        callback_endpoint: CallbackEndpoint,
        heartbeat_endpoint: Any,
    ) -> Any:
        outcome = original(
            self,
            env=env,
            timeout_seconds=timeout_seconds,
            callback_endpoint=callback_endpoint,
            heartbeat_endpoint=heartbeat_endpoint,
        )
        with _lock:
            answered = callback_endpoint.get_outcome()
            if isinstance(outcome, (CallbackOutcomeTimedOut, HeartbeatTimedOut)) and answered is not None:
                outcome = answered
            _close(callback_endpoint)
        return outcome

    return eval_wait_for_task_token


def _token_per_attempt(original: Any) -> Any:
    def evaluate_with_timeout(self: Any, env: Any) -> None:
        context = env.states.context_object
        endpoint = _endpoint_of(env)
        if endpoint is not None and not _open(endpoint):  # a retry
            endpoint = env.callback_pool_manager.add(context.update_task_token())
        try:
            original(self, env)
        finally:
            if endpoint is not None:
                with _lock:
                    _close(endpoint)

    return evaluate_with_timeout


def _endpoint_of(env: Any) -> CallbackEndpoint | None:
    task = env.states.context_object.context_object_data.get("Task")
    return env.callback_pool_manager.get(task["Token"]) if task else None


def _deliver(backend: Any, act: Callable[[Any], bool]) -> None:
    for execution in list(backend._get_executions(ExecutionStatus.RUNNING)):  # noqa: SLF001 - as moto does
        environment = execution.exec_worker.env if execution.exec_worker else None
        if environment is None:  # it has only just started
            continue
        try:
            if act(environment.callback_pool_manager):
                return
        except CallbackNotifyConsumerError as error:
            raise _TaskTimedOutError("Task Timed Out: 'Provided task does not exist anymore'") from error
    raise InvalidToken


def _send_task_heartbeat(self: Any, task_token: str) -> None:
    _deliver(self, lambda pool: pool.heartbeat(callback_id=task_token))


def _send_task_success(self: Any, task_token: str, outcome: str) -> None:
    try:
        json.loads(outcome)
    except (TypeError, ValueError) as error:
        raise _InvalidOutputError(f"Invalid Output: 'SyntaxError: {error}'") from error
    success = CallbackOutcomeSuccess(callback_id=task_token, output=outcome)
    _deliver(self, lambda pool: pool.notify(callback_id=task_token, outcome=success))


def _send_task_failure(
    self: Any, task_token: str, error: str | None = None, cause: str | None = None
) -> None:
    failure = CallbackOutcomeFailure(callback_id=task_token, error=error, cause=cause)
    _deliver(self, lambda pool: pool.notify(callback_id=task_token, outcome=failure))


def _respond_send_task_failure(self: Any) -> EmptyResult:
    self.stepfunction_backend.send_task_failure(
        self._get_param("taskToken"), error=self._get_param("error"), cause=self._get_param("cause")
    )
    return EmptyResult()
