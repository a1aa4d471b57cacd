"""What repairs jobs whose state machine cannot: it was never started, or was stopped from outside."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct


class MediaJobTriggers(Construct):
    """Rules that call functions: `sweep` every minute, `end` for each execution that ended without a word."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        machine: sfn.StateMachine,
        sweep: lambda_.Function,
        end: lambda_.Function,
    ) -> None:
        super().__init__(scope, construct_id)
        events.Rule(
            self,
            "Sweep",
            description="Submits jobs of the library that no execution was started for.",
            schedule=events.Schedule.rate(Duration.minutes(1)),
            targets=[targets.LambdaFunction(sweep, retry_attempts=0)],
        )
        events.Rule(
            self,
            "ExecutionCutOff",
            description="Reports jobs whose execution was stopped, or took too long.",
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={
                    "stateMachineArn": [machine.state_machine_arn],
                    "status": ["ABORTED", "TIMED_OUT"],
                },
            ),
            targets=[targets.LambdaFunction(end)],
        )
