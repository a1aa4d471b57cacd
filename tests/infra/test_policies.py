"""Every right of every stack: no action with a wildcard, and no resource with one that could have been named."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.conftest import Part, Synthesized

NAMELESS = {
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    # Step Functions sets its own log delivery up.
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
    "cloudwatch:PutMetricData",
    # A command's answer is known by the id that sending it gave.
    "ssm:GetCommandInvocation",
    # Interfaces have no names before they are there.
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    # Lists.
    "ec2:DescribeInstances",
    "ec2:DescribeSnapshots",
    "ec2:DescribeVolumes",
    # What the SSM agent calls for the machine it is on.
    "ssm:DescribeAssociation",
    "ssm:DescribeDocument",
    "ssm:GetDocument",
    "ssm:ListAssociations",
    "ssm:ListInstanceAssociations",
    "ssm:PutComplianceItems",
    "ssm:UpdateAssociationStatus",
    "ssm:UpdateInstanceAssociationStatus",
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
    "ec2messages:AcknowledgeMessage",
    "ec2messages:DeleteMessage",
    "ec2messages:FailMessage",
    "ec2messages:GetEndpoint",
    "ec2messages:GetMessages",
    "ec2messages:SendReply",
}
"""Actions that AWS gives for no resource but all."""

BELOW_A_NAME = (
    r"<Media(In|Out)[^>]*>/(\.parts/)?\*",  # files of the library's own buckets
    r"<MediaIn[^>]*>/live/\*",  # recordings
    r".*:execution:livedub-prod-[a-z-]+:\*",  # executions of one machine: their names come with the work
    # Copies of volumes, which have no names before they are there, and volumes by their tag: test_volume_snapshots.py.
    r"arn:<AWS::Partition>:ec2:.*:(volume|snapshot)/\*",
    # AWS puts an id before the name.
    r".*:autoScalingGroup:\*:autoScalingGroupName/livedub-prod-workers",
)
"""Resources that end in a wildcard: what is below something of ours that has a name."""


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def documents(part: Part) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every policy of an identity, by the resource it is in."""
    for name, resource in part.resources.items():
        properties = resource.get("Properties", {})
        if resource["Type"] in {"AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"}:
            yield name, properties["PolicyDocument"]
        for policy in properties.get("Policies", []) if resource["Type"] == "AWS::IAM::Role" else []:
            yield name, policy["PolicyDocument"]


def allowed(environment: Synthesized) -> Iterator[tuple[str, dict[str, Any]]]:
    for part in environment.parts.values():
        for name, document in documents(part):
            for statement in document["Statement"]:
                if statement["Effect"] == "Allow":
                    yield f"{part.name}/{name}", statement


def text(environment: Synthesized, resource: Any) -> str:
    """A resource as text, with references as <Name>."""
    if isinstance(resource, str):
        return resource
    if "Fn::Join" in resource:
        separator, parts = resource["Fn::Join"]
        return separator.join(text(environment, part) for part in parts)
    if "Fn::ImportValue" in resource or "Fn::GetStackOutput" in resource:
        return text(environment, environment.origin("", resource)[1])
    if "Fn::GetAtt" in resource:
        return f"<{resource['Fn::GetAtt'][0]}>"
    return f"<{resource.get('Ref') or json.dumps(resource, sort_keys=True)}>"


def test_no_action_has_a_wildcard(prod: Synthesized):
    wild = {
        (where, action)
        for where, statement in allowed(prod)
        for action in as_list(statement["Action"])
        if "*" in action
    }
    assert wild == set()


def test_every_resource_is_named_where_aws_knows_names(prod: Synthesized):
    unnamed = {
        (where, action)
        for where, statement in allowed(prod)
        if "*" in as_list(statement["Resource"])
        for action in as_list(statement["Action"])
        if action not in NAMELESS
    }
    assert unnamed == set()


def test_a_wildcard_stands_only_below_a_name_of_ours(prod: Synthesized):
    wild = {
        (where, name)
        for where, statement in allowed(prod)
        for resource in as_list(statement["Resource"])
        for name in [text(prod, resource)]
        if "*" in name and name != "*" and not any(re.fullmatch(each, name) for each in BELOW_A_NAME)
    }
    assert wild == set()


def test_nobody_gets_a_policy_of_amazons(prod: Synthesized):
    """They grow by themselves, and most read more than one machine or function needs."""
    given = {
        (part.name, name): json.dumps(role["Properties"]["ManagedPolicyArns"])
        for part in prod.parts.values()
        for name, role in part.of_type("AWS::IAM::Role").items()
        if "ManagedPolicyArns" in role["Properties"]
    }
    assert {key: arns for key, arns in given.items() if ":iam::aws:policy/" in arns} == {}


def test_roles_are_taken_by_one_service_each(prod: Synthesized):
    for part in prod.parts.values():
        for name, role in part.of_type("AWS::IAM::Role").items():
            [statement] = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
            assert statement["Action"] == "sts:AssumeRole", name
            [principal] = statement["Principal"].values()
            assert isinstance(principal, str), name
            assert "*" not in principal, name


def test_functions_are_called_by_named_sources_alone(prod: Synthesized):
    for part in prod.parts.values():
        for name, permission in part.of_type("AWS::Lambda::Permission").items():
            properties = permission["Properties"]
            assert properties["Principal"] in {"apigateway.amazonaws.com", "events.amazonaws.com"}, name
            assert "SourceArn" in properties, name


@pytest.mark.parametrize("environment", ["local", "prod"])
def test_every_finding_that_is_accepted_has_its_reason_on_the_construct(
    environment: str, local: Synthesized, prod: Synthesized
):
    synthesized = {"local": local, "prod": prod}[environment]
    report = json.loads((synthesized.folder / "validation-report.json").read_text())
    accepted = [each for plugin in report["pluginReports"] for each in plugin["suppressedViolations"]]
    assert accepted
    for each in accepted:
        reason = each["reason"]
        assert len(reason) > 20, each["ruleName"]
        assert reason.endswith("."), reason
        assert "/" in each["acknowledgedAt"], f"{each['ruleName']} is accepted for a whole stack"
