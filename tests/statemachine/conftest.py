import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.awslambda_simple.models import LambdaSimpleBackend
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_sfn import (
    StateTaskServiceSfn,
)

from livedub.supervision import control_plane
from livedub.supervision.policy import SupervisionPolicy
from tests.statemachine.machine import (
    STATE_FUNCTIONS,
    Agent,
    LocalFunctions,
    Machine,
    definition,
    empty_zip,
)
from tests.steady_moto import steady_moto
from tests.unit.functions.rig import ENVIRONMENT, Rig, create_secrets, create_tables, reset

SHORT = SupervisionPolicy(heartbeat_s=20, backoff_first_s=1, backoff_max_s=1, restart_budget=2)


@pytest.fixture
def policy() -> SupervisionPolicy:
    """Override where other bounds are wanted."""
    return SHORT


@pytest.fixture
def retries() -> int | None:
    """Override to shorten what the definition says of retries."""
    return None


@pytest.fixture
def machine(
    monkeypatch: pytest.MonkeyPatch, policy: SupervisionPolicy, retries: int | None
) -> Iterator[Machine]:
    """The state machine as deployed, and a stream whose publisher is on."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(control_plane, "policy", functools.cache(lambda: policy))
    with (
        steady_moto(),
        mock_aws(config={"stepfunctions": {"execute_state_machine": True}, "lambda": {"use_docker": False}}),
    ):
        dynamodb = boto3.client("dynamodb", region_name="us-east-1")
        stepfunctions = boto3.client("stepfunctions", region_name="us-east-1")
        sqs = boto3.client("sqs", region_name="us-east-1")
        create_tables(dynamodb)
        create_secrets(boto3.client("secretsmanager", region_name="us-east-1"))
        queue_url = sqs.create_queue(QueueName="work")["QueueUrl"]
        rig = Rig(lambda: time.time_ns() // 1_000_000, stepfunctions, dynamodb, "")
        functions = LocalFunctions(rig)
        monkeypatch.setattr(
            StateTaskServiceSfn,
            "_normalise_parameters",
            _lower_first(StateTaskServiceSfn._normalise_parameters),
        )
        monkeypatch.setattr(LambdaSimpleBackend, "invoke", functions.invoke_for_moto)
        arns = _functions(functions.suffix)
        rig.arn = stepfunctions.create_state_machine(
            name="stream_supervisor",
            definition=definition(
                {**arns, "WorkQueueUrl": queue_url, "StreamsTable": "streams"}, retries=retries
            ),
            roleArn="arn:aws:iam::123456789012:role/any",
        )["stateMachineArn"]
        monkeypatch.setenv("LIVEDUB_STATE_MACHINE_ARN", rig.arn)
        reset()
        made = Machine(rig, sqs, queue_url, functions)
        try:
            assert rig.api("PUT", "/v1/streams/stadium").status == 201
            yield made
        finally:
            _stop_all(made)
    reset()


@pytest.fixture
def agent(machine: Machine, policy: SupervisionPolicy) -> Agent:
    return Agent(machine, policy)


def _lower_first(original: Callable[..., None]) -> Callable[..., None]:
    """moto hands `StateMachineArn` to boto3, which knows `stateMachineArn`: a nested startExecution always fails."""

    def normalise(self: Any, parameters: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        original(self, parameters, *args, **kwargs)
        for name in list(parameters):
            parameters[name[0].lower() + name[1:]] = parameters.pop(name)

    return normalise


def _functions(suffix: str) -> dict[str, str]:
    iam = boto3.client("iam", region_name="us-east-1")
    role = iam.create_role(RoleName="functions", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    lambda_ = boto3.client("lambda", region_name="us-east-1")
    return {
        placeholder: lambda_.create_function(
            FunctionName=name + suffix,
            Runtime="python3.11",
            Role=role,
            Handler="handler.handler",
            Code={"ZipFile": empty_zip()},
        )["FunctionArn"]
        for placeholder, name in STATE_FUNCTIONS.items()
    }


def _stop_all(machine: Machine) -> None:
    """No execution outlives its test: its threads would call into the next one's tables."""
    for name in machine.rig.executions():
        if machine.status(name) == "RUNNING":
            machine.rig.stepfunctions.stop_execution(executionArn=machine.arn(name))
