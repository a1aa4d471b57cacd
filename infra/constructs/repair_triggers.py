"""What sets things right without anybody asking: executions that died, and the clock."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

RECONCILE_PERIOD = Duration.minutes(1)


class RepairTriggers(Construct):
    """Executions that ended without releasing call `execution_watch`; every minute calls `reconcile_streams`."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        machine: sfn.StateMachine,
        execution_watch: lambda_.Function,
        reconcile_streams: lambda_.Function,
    ) -> None:
        super().__init__(scope, construct_id)
        events.Rule(
            self,
            "ExecutionDied",
            description="A supervising execution was aborted, timed out or failed: its lease is still taken.",
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={
                    "status": ["ABORTED", "TIMED_OUT", "FAILED"],
                    "stateMachineArn": [machine.state_machine_arn],
                },
            ),
            targets=[
                targets.LambdaFunction(execution_watch, retry_attempts=20, max_event_age=Duration.hours(1))
            ],
        )
        events.Rule(
            self,
            "Reconcile",
            description="Compares what is published with what is owned, and repairs the difference.",
            schedule=events.Schedule.rate(RECONCILE_PERIOD),
            # The next one does the same work: a late repetition is worth nothing.
            targets=[
                targets.LambdaFunction(reconcile_streams, retry_attempts=0, max_event_age=Duration.minutes(1))
            ],
        )
