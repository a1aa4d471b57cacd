"""What wakes RunPod up when a stream begins: who calls it, what it is told, what it may, how long it is tried."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from typing import Any

import pytest
from aws_cdk import App, Environment, Stack
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk.assertions import Template
from aws_cdk.aws_logs import RetentionDays

from infra.constructs.python_function import FunctionSetup, required_variables
from infra.constructs.sts_warm_up import StsWarmUp
from tests.infra.conftest import ROOT

ARN = "arn:aws:states:eu-central-1:123456789012:stateMachine:livedub-prod-stream-supervisor"
POWERTOOLS = {"POWERTOOLS_SERVICE_NAME", "POWERTOOLS_METRICS_NAMESPACE", "POWERTOOLS_LOG_LEVEL"}


def synthesize(runpod_base_url: str = "") -> dict[str, Any]:
    stack = Stack(App(), "Test", env=Environment(account="123456789012", region="eu-central-1"))
    setup = FunctionSetup(
        source=ROOT / "functions",
        layers=[],
        log_retention=RetentionDays.ONE_DAY,
        values={},
        policy={},
        log_level="INFO",
        metrics_namespace="livedub/test",
    )
    StsWarmUp(
        stack,
        "WarmUp",
        machine=sfn.StateMachine.from_state_machine_arn(stack, "Machine", ARN),
        setup=setup,
        service_url_parameter="/livedub/prod/sts/STS_SERVICE_URL",
        secret=secretsmanager.Secret(stack, "Secret"),
        runpod_base_url=runpod_base_url,
    )
    return Template.from_stack(stack).to_json()["Resources"]


def only(resources: dict[str, Any], kind: str) -> tuple[str, dict[str, Any]]:
    ((name, resource),) = ((name, each) for name, each in resources.items() if each["Type"] == kind)
    return name, resource["Properties"]


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    return synthesize()


def test_the_beginning_of_an_execution_of_that_machine_calls_it_and_nothing_else(resources: dict[str, Any]):
    function, _ = only(resources, "AWS::Lambda::Function")
    _, rule = only(resources, "AWS::Events::Rule")
    assert rule["EventPattern"] == {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {"status": ["RUNNING"], "stateMachineArn": [ARN]},
    }
    (target,) = rule["Targets"]
    assert target["Arn"] == {"Fn::GetAtt": [function, "Arn"]}
    _, permission = only(resources, "AWS::Lambda::Permission")
    assert permission["Principal"] == "events.amazonaws.com"


def test_a_question_that_comes_late_is_dropped(resources: dict[str, Any]):
    _, rule = only(resources, "AWS::Events::Rule")
    assert rule["Targets"][0]["RetryPolicy"] == {"MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 1}
    _, invocation = only(resources, "AWS::Lambda::EventInvokeConfig")
    assert (invocation["MaximumEventAgeInSeconds"], invocation["MaximumRetryAttempts"]) == (60, 0)


def test_it_is_told_what_its_settings_require(resources: dict[str, Any]):
    secret, _ = only(resources, "AWS::SecretsManager::Secret")
    _, function = only(resources, "AWS::Lambda::Function")
    variables = function["Environment"]["Variables"]
    assert set(variables) == required_variables("WarmSts") | POWERTOOLS
    assert variables["LIVEDUB_STS_URL_PARAMETER"] == "/livedub/prod/sts/STS_SERVICE_URL"
    assert variables["LIVEDUB_STS_SECRET"] == {"Ref": secret}
    assert "VpcConfig" not in function, "RunPod is on the internet"


def test_runpod_may_be_elsewhere():
    _, function = only(synthesize("http://127.0.0.1:8791/v2"), "AWS::Lambda::Function")
    assert function["Environment"]["Variables"]["STS_RUNPOD_BASE_URL"] == "http://127.0.0.1:8791/v2"


def test_it_may_read_its_parameter_and_its_secret_and_nothing_more(resources: dict[str, Any]):
    secret, _ = only(resources, "AWS::SecretsManager::Secret")
    _, policy = only(resources, "AWS::IAM::Policy")
    rights = {
        statement["Action"]: statement["Resource"]
        for statement in policy["PolicyDocument"]["Statement"]
        if isinstance(statement["Action"], str)
    }
    parameter = rights.pop("ssm:GetParameters")
    assert parameter["Fn::Join"][1][-1] == (
        ":ssm:eu-central-1:123456789012:parameter/livedub/prod/sts/STS_SERVICE_URL"
    )
    assert rights == {"secretsmanager:GetSecretValue": {"Ref": secret}}
    others = [
        sorted(statement["Action"])
        for statement in policy["PolicyDocument"]["Statement"]
        if not isinstance(statement["Action"], str)
    ]
    assert sorted(others) == [
        ["logs:CreateLogStream", "logs:PutLogEvents"],
        ["xray:PutTelemetryRecords", "xray:PutTraceSegments"],
    ]
