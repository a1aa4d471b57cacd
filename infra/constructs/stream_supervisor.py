"""The state machine that owns one run of one stream; its definition is a file of its own, the same one tests run."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aws_cdk import ArnFormat, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.constructs.acknowledged import acknowledge

DEFINITION = Path(__file__).resolve().parents[1] / "statemachines" / "stream_supervisor.asl.json"

STEPS = ("AcquireLease", "ClassifyOutcome", "ReleaseLease")
"""Functions the machine calls; state, function and substitution (with `Arn`) have the same name."""


class StreamSupervisor(Construct):
    """A Standard machine. Rights are granted by hand: from a file, CDK infers none."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        functions: Mapping[str, lambda_.Function],
        work_queue: sqs.Queue,
        streams: dynamodb.Table,
        log_retention: logs.RetentionDays,
    ) -> None:
        super().__init__(scope, construct_id)
        steps = {step: functions[step] for step in STEPS}
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("states.amazonaws.com"))
        self.machine = sfn.StateMachine(
            self,
            "Machine",
            state_machine_name=name,
            state_machine_type=sfn.StateMachineType.STANDARD,
            definition_body=sfn.DefinitionBody.from_string(DEFINITION.read_text(encoding="utf-8")),
            definition_substitutions={
                **{f"{name}Arn": function.function_arn for name, function in steps.items()},
                "WorkQueueUrl": work_queue.queue_url,
                "StreamsTable": streams.table_name,
            },
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
        for actions, resources in (
            (["lambda:InvokeFunction"], [step.function_arn for step in steps.values()]),
            (["sqs:SendMessage"], [work_queue.queue_arn]),
            (["dynamodb:UpdateItem"], [streams.table_arn]),
            (["states:StartExecution"], [machine_arn(self, name)]),
        ):
            role.add_to_policy(iam.PolicyStatement(actions=actions, resources=resources))
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
