"""A Standard state machine from a file of its own, the same file that tests run; its executions hold task tokens."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from aws_cdk import ArnFormat, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.constructs.acknowledged import acknowledge

Grants = Sequence[tuple[Sequence[str], Sequence[str]]]
"""Actions, and the ARNs they are allowed on."""


class TaskTokenMachine(Construct):
    """The machine, its role and its log. Rights are granted by hand: from a file, CDK infers none."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        definition: Path,
        substitutions: Mapping[str, str],
        grants: Grants,
        log_retention: logs.RetentionDays,
    ) -> None:
        super().__init__(scope, construct_id)
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("states.amazonaws.com"))
        self.machine = sfn.StateMachine(
            self,
            "Machine",
            state_machine_name=name,
            state_machine_type=sfn.StateMachineType.STANDARD,
            definition_body=sfn.DefinitionBody.from_string(definition.read_text(encoding="utf-8")),
            definition_substitutions=dict(substitutions),
            role=role,
            tracing_enabled=True,
            # No execution data: it holds task tokens, which let their bearer end or keep a run.
            logs=sfn.LogOptions(
                destination=logs.LogGroup(
                    self, "Logs", retention=log_retention, removal_policy=RemovalPolicy.DESTROY
                ),
                level=sfn.LogLevel.ERROR,
                include_execution_data=False,
            ),
        )
        for actions, resources in grants:
            role.add_to_policy(iam.PolicyStatement(actions=list(actions), resources=list(resources)))
        acknowledge(
            self.machine, "SF1", "Logs of all events would hold task tokens; the history shows the rest."
        )
        acknowledge(role, "IAM5[Resource::*]", "X-Ray and the log delivery API have no resources to name.")


def machine_arn(scope: Construct, name: str) -> str:
    """The ARN of the machine called `name`, made of its name.

    Its own role and the functions it calls start executions of it. By reference, each would wait for the other
    in CloudFormation.
    """
    return Stack.of(scope).format_arn(
        service="states",
        resource="stateMachine",
        resource_name=name,
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )


def executions_arn(scope: Construct, name: str) -> str:
    """The ARN pattern of every execution of the machine called `name`."""
    return Stack.of(scope).format_arn(
        service="states",
        resource="execution",
        resource_name=f"{name}:*",
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )
