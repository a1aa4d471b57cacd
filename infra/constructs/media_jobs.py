"""The state machine `media_job`, and how its work waits for hosts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aws_cdk import Duration
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.constructs.task_token_machine import TaskTokenMachine, executions_arn, machine_arn
from infra.constructs.work_queue import WorkQueue

DEFINITION = Path(__file__).resolve().parents[1] / "statemachines" / "media_job.asl.json"

STEPS = ("MediaJobRoute", "MediaJobRun", "MediaJobEnd")
"""Functions the machine calls; substitutions have the same names, with `Arn`."""

RANGES = "DubRange"
"""Label of the Distributed Map: what it starts are executions of stateMachine:NAME/LABEL, and so are their tasks' tokens."""

_HIDDEN_S = 30
"""Hosts ask for their own: LIBRARY_JOB_LEASE_S."""
_KEPT_DAYS = 3
"""The state machine waits two for a host."""
_DELIVERIES = 12
"""More than the attempts that the catalogue allows one submission, so that the row says FAILED before a message is dead."""


def media_work_queue(scope: Construct, construct_id: str) -> WorkQueue:
    """Jobs, and steps of jobs, for hosts."""
    return WorkQueue(
        scope,
        construct_id,
        hidden=Duration.seconds(_HIDDEN_S),
        kept=Duration.days(_KEPT_DAYS),
        deliveries=_DELIVERIES,
    )


class MediaJobs(TaskTokenMachine):
    """It calls its functions, hands work to hosts, and divides long dubs by a Distributed Map."""

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
        steps = {step: functions[step].function_arn for step in STEPS}
        super().__init__(
            scope,
            construct_id,
            name=name,
            definition=DEFINITION,
            substitutions={
                **{f"{step}Arn": arn for step, arn in steps.items()},
                "MediaWorkQueueUrl": work_queue.queue_url,
            },
            grants=(
                (["lambda:InvokeFunction"], list(steps.values())),
                (["sqs:SendMessage"], [work_queue.queue_arn]),
                # A Distributed Map starts executions of its own machine and follows them.
                (["states:StartExecution"], [machine_arn(scope, name)]),
                (["states:DescribeExecution", "states:StopExecution"], [executions_arn(scope, name)]),
            ),
            log_retention=log_retention,
        )
