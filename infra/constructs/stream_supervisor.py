"""The state machine that owns one run of one stream."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.constructs.task_token_machine import TaskTokenMachine, machine_arn

DEFINITION = Path(__file__).resolve().parents[1] / "statemachines" / "stream_supervisor.asl.json"

STEPS = ("AcquireLease", "ClassifyOutcome", "ReleaseLease")
"""Functions the machine calls; state, function and substitution (with `Arn`) have the same name."""


class StreamSupervisor(TaskTokenMachine):
    """It calls its functions, hands work to hosts, hands the task token over by the lease row, and rolls over."""

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
        steps = {step: functions[step].function_arn for step in STEPS}
        super().__init__(
            scope,
            construct_id,
            name=name,
            definition=DEFINITION,
            substitutions={
                **{f"{step}Arn": arn for step, arn in steps.items()},
                "WorkQueueUrl": work_queue.queue_url,
                "StreamsTable": streams.table_name,
            },
            grants=(
                (["lambda:InvokeFunction"], list(steps.values())),
                (["sqs:SendMessage"], [work_queue.queue_arn]),
                (["dynamodb:UpdateItem"], [streams.table_arn]),
                (["states:StartExecution"], [machine_arn(scope, name)]),
            ),
            log_retention=log_retention,
        )
