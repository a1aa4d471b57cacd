"""Step Functions, executions: started once per name, stopped at once, and their changes told to EventBridge."""

from __future__ import annotations

import datetime as dt
import json
import logging
import threading
import time
import uuid
from typing import Any

from moto.core.responses import ActionResult
from moto.events.models import events_backends
from moto.stepfunctions.parser.api import ExecutionStatus
from moto.stepfunctions.parser.asl.eval.program_state import ProgramStopped

from local.aws.overlay.patching import Patch
from local.aws.overlay.state_machine_tokens import close_tokens
from local.aws.runtime import Runtime

_LOG = logging.getLogger(__name__)
_NESTED = "moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_sfn"
_ENVIRONMENT = "moto.stepfunctions.parser.asl.eval.environment:Environment"
_BEGIN_BOUND_S = 5.0
_POLL_S = 0.005
_lock = threading.RLock()
"""Orders the changes of executions' states."""


def patches(runtime: Runtime) -> list[Patch]:
    """The patches of executions."""
    return [
        Patch(
            "moto.stepfunctions.parser.models:StepFunctionsParserBackend.start_execution",
            "0f8d9dd57baf",
            "moto starts two executions of one name when two callers come at once, names an unnamed one None, "
            "and tells nobody",
            lambda original: _start_once(original, runtime),
        ),
        Patch(
            "moto.stepfunctions.parser.backend.execution:BaseExecutionWorkerCommunication.terminated",
            "360372a6a57b",
            "moto changes a stopped execution's end again, fails on outputs with dates, and tells nobody",
            lambda original: _terminated_once(original, runtime),
        ),
        Patch(
            "moto.stepfunctions.responses:StepFunctionResponse.stop_execution",
            "633c8a544aac",
            "moto drops error and cause, and a stopped token wait goes on until its time-out",
            lambda _original: _respond_stop_execution(runtime),
        ),
        Patch(
            f"{_ENVIRONMENT}.set_error",
            "6447409d4056",
            "the task that a stop interrupts must not turn the stopped execution into a failed one",
            _unless_stopped,
        ),
        Patch(
            f"{_ENVIRONMENT}.set_timed_out",
            "853b04bf9e6a",
            "as set_error",
            _unless_stopped,
        ),
        Patch(
            f"{_NESTED}:StateTaskServiceSfn._normalise_parameters",
            "d75d3da19aad",
            "moto hands StateMachineArn to boto3, which knows stateMachineArn: states:startExecution always fails",
            _lower_first,
        ),
        Patch(
            "moto.stepfunctions.responses:StepFunctionResponse.describe_execution",
            "c3953bdc9ce2",
            "moto keeps the stop date of a timed out execution to itself, and an output that is a string is no JSON",
            _describe_wholly,
        ),
    ]


def _lower_first(original: Any) -> Any:
    def normalise(self: Any, parameters: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        original(self, parameters, *args, **kwargs)
        for name in list(parameters):
            parameters[name[0].lower() + name[1:]] = parameters.pop(name)

    return normalise


def status_event(execution: Any) -> dict[str, Any]:
    """The entry for PutEvents that AWS sends when an execution's status changes."""
    stopped = execution.stop_date
    output = execution.output if execution.status == ExecutionStatus.SUCCEEDED.value else None
    detail = {
        "executionArn": execution.execution_arn,
        "stateMachineArn": execution.state_machine_arn,
        "name": execution.name,
        "status": execution.status,
        "startDate": _milliseconds(execution.start_date),
        "stopDate": _milliseconds(stopped) if stopped else None,
        "input": execution.execution_input,
        "inputDetails": {"included": True},
        "output": None if output is None else json.dumps(output),
        "outputDetails": None if output is None else {"included": True},
        "error": execution.error,
        "cause": execution.cause,
    }
    return {
        "Source": "aws.states",
        "DetailType": "Step Functions Execution Status Change",
        "Resources": [execution.execution_arn],
        "Detail": json.dumps(detail),
    }


def _milliseconds(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1000)


def _announce(execution: Any, runtime: Runtime) -> None:
    entry = status_event(execution)
    events = events_backends[execution.account_id][execution.region_name]
    runtime.background.soon(lambda: events.put_events([entry]))


def _start_once(original: Any, runtime: Runtime) -> Any:
    def start_execution(
        self: Any,
        state_machine_arn: str,
        name: str | None = None,
        execution_input: str | None = None,
        trace_header: str | None = None,
    ) -> Any:
        with _lock:
            known = {id(execution) for execution in self.describe_state_machine(state_machine_arn).executions}
            execution = original(
                self, state_machine_arn, name or str(uuid.uuid4()), execution_input, trace_header
            )
            if id(execution) not in known:
                _announce(execution, runtime)
            return execution

    return start_execution


def _terminated_once(original: Any, runtime: Runtime) -> Any:
    def terminated(self: Any) -> None:
        execution = self.execution
        with _lock:
            if execution.exec_status != ExecutionStatus.RUNNING:
                return
            original(self)
            # Answers of some AWS calls hold dates, which DescribeExecution could not write.
            execution.output = json.loads(json.dumps(execution.output, default=str))
            _announce(execution, runtime)
        close_tokens(execution.exec_worker.env)

    return terminated


def _respond_stop_execution(runtime: Runtime) -> Any:
    def stop_execution(self: Any) -> ActionResult:
        execution = self.stepfunction_backend.describe_execution(self._get_param("executionArn"))
        environment = _begun(execution)
        with _lock:
            if execution.exec_status == ExecutionStatus.RUNNING:
                now = dt.datetime.now(tz=dt.timezone.utc)
                error, cause = self._get_param("error"), self._get_param("cause")
                execution.exec_status = ExecutionStatus.ABORTED
                execution.stop_date, execution.error, execution.cause = now, error, cause
                execution.stop(stop_date=now, error=error, cause=cause)
                _announce(execution, runtime)
        close_tokens(environment)
        return ActionResult({"stopDate": execution.stop_date})

    return stop_execution


def _begun(execution: Any) -> Any:
    """The execution's environment, made by its own thread a moment after the start."""
    deadline = time.monotonic() + _BEGIN_BOUND_S
    while time.monotonic() < deadline:
        environment = execution.exec_worker.env
        if environment is not None and environment.program_state() is not None:
            return environment
        time.sleep(_POLL_S)
    raise RuntimeError(f"execution {execution.name} did not begin within {_BEGIN_BOUND_S} s")


def _unless_stopped(original: Any) -> Any:
    def guarded(self: Any, *args: Any, **kwargs: Any) -> None:
        if not isinstance(self.program_state(), ProgramStopped):
            original(self, *args, **kwargs)

    return guarded


def _describe_wholly(original: Any) -> Any:
    def describe_execution(self: Any) -> ActionResult:
        response = original(self)
        execution = self.stepfunction_backend.describe_execution(self._get_param("executionArn"))
        if execution.stop_date is not None:
            response.result.setdefault("stopDate", execution.stop_date)
        if execution.status == ExecutionStatus.SUCCEEDED.value:
            response.result["output"] = json.dumps(execution.output)
        return response

    return describe_execution
