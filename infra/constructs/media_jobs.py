"""The state machine `media_job`, its functions' rights and the queue of work for hosts."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.constructs.acknowledged import acknowledge
from infra.constructs.stream_supervisor import executions_arn, machine_arn

DEFINITION = Path(__file__).resolve().parents[1] / "statemachines" / "media_job.asl.json"

STEPS = ("MediaJobRoute", "MediaJobRun", "MediaJobEnd")
"""Functions the machine calls; substitutions have the same names, with `Arn`."""

_HIDDEN_S = 30
"""Hosts ask for their own: LIBRARY_JOB_LEASE_S."""
_DELIVERIES = 12
"""More than the attempts that the catalogue allows one submission, so that the row says FAILED before a message is dead."""


class MediaWorkQueue(Construct):
    """Work for hosts and, for what no host could make sense of, dead letters."""

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        self.dead_letters = sqs.Queue(
            self,
            "DeadLetters",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )
        self.queue = sqs.Queue(
            self,
            "Work",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            visibility_timeout=Duration.seconds(_HIDDEN_S),
            # The state machine waits two days for a host.
            retention_period=Duration.days(3),
            receive_message_wait_time=Duration.seconds(20),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead_letters, max_receive_count=_DELIVERIES),
        )


class MediaJobs(Construct):
    """A Standard machine. Rights are granted by hand: from a file, CDK infers none."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        functions: Mapping[str, lambda_.Function],
        work_queue: sqs.Queue,
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
                **{f"{step}Arn": function.function_arn for step, function in steps.items()},
                "MediaWorkQueueUrl": work_queue.queue_url,
            },
            role=role,
            tracing_enabled=True,
            # No execution data: it holds task tokens, which let their bearer end a job.
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
            # A Distributed Map starts executions of its own machine and follows them.
            (["states:StartExecution"], [machine_arn(self, name)]),
            (["states:DescribeExecution", "states:StopExecution"], [executions_arn(self, name)]),
        ):
            role.add_to_policy(iam.PolicyStatement(actions=actions, resources=resources))
        acknowledge(
            self.machine, "SF1", "Logs of all events would hold task tokens; the history shows the rest."
        )
        acknowledge(role, "IAM5[Resource::*]", "X-Ray and the log delivery API have no resources to name.")
