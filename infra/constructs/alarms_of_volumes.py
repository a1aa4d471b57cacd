"""What says that what is on a volume is no longer copied."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from infra.constructs.alarms import AlarmSpec, make_alarm, topic_by_name


class SnapshotsAlarm(Construct):
    """Goes off when a daily snapshot could not be made. It stands in the stack of its policy, as a machine's alarm does.

    Data Lifecycle Manager tells after its last attempt, an hour after the first
    (https://docs.aws.amazon.com/ebs/latest/userguide/monitor-dlm-cw-metrics.html).
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, environment: str, name: str, policy_id: str
    ) -> None:
        super().__init__(scope, construct_id)
        self.alarm = make_alarm(
            self,
            AlarmSpec(
                f"{name}-snapshots-failing",
                "A daily snapshot of the volume could not be made.",
                cloudwatch.Metric(
                    namespace="AWS/EBS",
                    metric_name="SnapshotsCreateFailed",
                    dimensions_map={"DLMPolicyId": policy_id},
                    statistic="Sum",
                    period=Duration.hours(1),
                ),
                over=0,
            ),
            environment,
            topic_by_name(self, environment),
        )
