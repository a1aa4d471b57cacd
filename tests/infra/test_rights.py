"""Who may do what. Everything is spelled out: a right that is added shows up here."""

from typing import Any

import pytest

from infra.stacks.control_plane import FUNCTIONS, ROUTES
from tests.infra.conftest import Part, Synthesized

LEASE = {"streams": {"dynamodb:GetItem", "dynamodb:PutItem"}}
START = {"machine": {"states:StartExecution"}}
SIGNED = {"replay": {"dynamodb:PutItem"}, "relay_key": {"secretsmanager:GetSecretValue"}}
EVERY_STREAM = {"streams": {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Scan"}}

RIGHTS: dict[str, dict[str, set[str]]] = {
    "OnPublish": {**LEASE, **START, **SIGNED},
    "OnUnpublish": {**LEASE, **SIGNED},
    "AuthorizeMedia": {"streams": {"dynamodb:GetItem"}, **SIGNED},
    "AcquireLease": LEASE,
    "ClassifyOutcome": LEASE,
    "ReleaseLease": {**LEASE, **START},
    "ExecutionWatch": {**LEASE, **START},
    "ReconcileStreams": {
        **EVERY_STREAM,
        **START,
        **SIGNED,
        "reports": {"dynamodb:PutItem", "dynamodb:Scan"},
    },
    "StreamApi": {
        **EVERY_STREAM,
        **START,
        "executions": {"states:StopExecution"},
        "api_token": {"secretsmanager:GetSecretValue"},
    },
}
TRACING = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}
LOG_DELIVERY = {
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
}
SAMPLING = {"xray:GetSamplingRules", "xray:GetSamplingTargets"}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


KEPT = {
    "streams": "Tables/Streams",
    "replay": "Tables/Replay",
    "reports": "Tables/Reports",
    "relay_key": "Secrets/RelayKey",
    "api_token": "Secrets/ApiToken",
}
"""In the stack `state`: the word used above -> the construct."""


@pytest.fixture
def control(prod: Synthesized) -> Part:
    return prod.part("control-plane")


def resource_names(synthesized: Synthesized) -> dict[tuple[str, str], str]:
    """Stack and logical id -> the word used above."""
    paths = {
        "work": "WorkQueue/Work",
        **{f"{function} logs": f"{function}Logs" for function in FUNCTIONS},
        **{function: function for function in FUNCTIONS},
    }
    control, state = synthesized.part("control-plane"), synthesized.part("state")
    return {
        **{("state", state.named(path)[0]): name for name, path in KEPT.items()},
        **{("control-plane", control.named(path)[0]): name for name, path in paths.items()},
    }


def word(synthesized: Synthesized, resource: Any) -> str:
    if resource == "*":
        return "*"
    if "Fn::Join" in resource:
        text = "".join(part for part in resource["Fn::Join"][1] if isinstance(part, str))
        name = f"livedub-{synthesized.environment}-stream-supervisor"
        words = {f":stateMachine:{name}": "machine", f":execution:{name}:*": "executions"}
        return next(word for end, word in words.items() if text.endswith(end))
    part, made = synthesized.origin("control-plane", resource)
    return resource_names(synthesized)[part, made.get("Ref") or made["Fn::GetAtt"][0]]


def rights(synthesized: Synthesized, role_path: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for statement in synthesized.part("control-plane").statements(role_path):
        assert statement["Effect"] == "Allow"
        for resource in as_list(statement["Resource"]):
            found.setdefault(word(synthesized, resource), set()).update(as_list(statement["Action"]))
    return found


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_function_may_do_what_it_does_and_no_more(prod: Synthesized, function: str):
    assert rights(prod, f"{function}Role") == {
        **RIGHTS[function],
        f"{function} logs": {"logs:CreateLogStream", "logs:PutLogEvents"},
        "*": TRACING,
    }


def test_the_state_machine_may_call_send_and_write_the_row_and_start_its_successor(prod: Synthesized):
    assert rights(prod, "StreamSupervisor/Role") == {
        "AcquireLease": {"lambda:InvokeFunction"},
        "ClassifyOutcome": {"lambda:InvokeFunction"},
        "ReleaseLease": {"lambda:InvokeFunction"},
        "work": {"sqs:SendMessage"},
        "streams": {"dynamodb:UpdateItem"},
        "machine": {"states:StartExecution"},
        "*": TRACING | SAMPLING | LOG_DELIVERY,
    }


def test_each_function_has_a_role_of_its_own_that_lambda_alone_takes(control: Part):
    roles = {function: control.named(f"{function}Role") for function in FUNCTIONS}
    used = {
        function: control.named(function)[1]["Properties"]["Role"]["Fn::GetAtt"][0] for function in FUNCTIONS
    }
    assert used == {function: role_id for function, (role_id, _) in roles.items()}
    assert len(control.of_type("AWS::IAM::Role")) == len(FUNCTIONS) + 1
    for _, role in roles.values():
        assert "ManagedPolicyArns" not in role["Properties"]
        [statement] = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}


def test_only_this_api_and_these_rules_may_call_a_function(control: Part):
    permissions = control.of_type("AWS::Lambda::Permission").values()
    for permission in permissions:
        properties = permission["Properties"]
        assert properties["Principal"] in {"apigateway.amazonaws.com", "events.amazonaws.com"}
        assert "SourceArn" in properties
    assert len(permissions) == sum(map(len, ROUTES.values())) + 2


@pytest.mark.parametrize("queue", ["Work", "DeadLetters"])
def test_queues_refuse_what_is_not_encrypted_on_the_way(control: Part, queue: str):
    queue_id, resource = control.named(f"WorkQueue/{queue}")
    [policy] = [
        policy["Properties"]
        for policy in control.of_type("AWS::SQS::QueuePolicy").values()
        if policy["Properties"]["Queues"] == [{"Ref": queue_id}]
    ]
    [statement] = policy["PolicyDocument"]["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert resource["Properties"]["SqsManagedSseEnabled"] is True
