from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from livedub.supervision import control_plane
from tests.unit.functions.rig import ENVIRONMENT, Clock, Rig, create_secrets, create_tables, reset


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Iterator[Rig]:
    """A control plane whose executions are only noted, never run."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(control_plane, "now_ms", clock)
    with mock_aws():
        dynamodb = boto3.client("dynamodb", region_name="us-east-1")
        stepfunctions = boto3.client("stepfunctions", region_name="us-east-1")
        create_tables(dynamodb)
        create_secrets(boto3.client("secretsmanager", region_name="us-east-1"))
        arn = stepfunctions.create_state_machine(
            name="stream_supervisor",
            definition='{"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}',
            roleArn="arn:aws:iam::123456789012:role/any",
        )["stateMachineArn"]
        monkeypatch.setenv("LIVEDUB_STATE_MACHINE_ARN", arn)
        reset()
        yield Rig(clock, stepfunctions, dynamodb, arn)
    reset()
