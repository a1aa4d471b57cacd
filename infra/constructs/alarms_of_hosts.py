"""What says that a machine is gone, full, or about to lose its certificate."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from infra.constructs.alarms import MINUTE, Alarms, AlarmSpec, make_alarm, topic_by_name
from infra.constructs.own_metrics import OwnMetrics

_TWO_HOURS = 120
"""The cache is looked at once an hour."""


class InstanceAlarm(Construct):
    """Goes off when AWS's checks of one machine fail, or find none that runs.

    It stands in the stack of its machine: in another one, it would go on watching a machine that was replaced.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, environment: str, name: str, instance_id: str
    ) -> None:
        super().__init__(scope, construct_id)
        self.alarm = make_alarm(
            self,
            AlarmSpec(
                f"{name}-down",
                "The machine does not answer, or does not run.",
                cloudwatch.Metric(
                    namespace="AWS/EC2",
                    metric_name="StatusCheckFailed",
                    dimensions_map={"InstanceId": instance_id},
                    statistic="Maximum",
                    period=MINUTE,
                ),
                over=0,
                of=(2, 3),
                silence=True,
            ),
            environment,
            topic_by_name(self, environment),
        )


def add_group_alarm(alarms: Alarms, name: str, group_name: str) -> None:
    """Hosts that a group wants and does not have; needs the group's own metrics."""
    by_name = {
        metric_name.removeprefix("Group").removesuffix("Instances").removesuffix("Capacity").lower(): metric
        for metric_name in ("GroupDesiredCapacity", "GroupInServiceInstances")
        for metric in [
            cloudwatch.Metric(
                namespace="AWS/AutoScaling",
                metric_name=metric_name,
                dimensions_map={"AutoScalingGroupName": group_name},
                statistic="Average",
                period=MINUTE,
            )
        ]
    }
    alarms.add(
        AlarmSpec(
            f"{name}-missing",
            "Hosts that should be there did not start, or did not say that they are ready.",
            cloudwatch.MathExpression(
                expression="desired - inservice", using_metrics=by_name, label="missing", period=MINUTE
            ),
            over=0,
            of=(15, 15),
        )
    )


def add_cache_alarms(
    alarms: Alarms, metrics: OwnMetrics, *, certificate_days: int, disk_percent: int
) -> None:
    """What the hourly clean-up sees of the media-cache host: certificate, readiness, volume."""
    for name, meaning, metric_name, statistic, bound in (
        (
            "certificate-expiring",
            f"The media cache's certificate ends in less than {certificate_days} days.",
            "CertificateDaysLeft",
            "Minimum",
            certificate_days,
        ),
        (
            "media-cache-not-ready",
            "The media cache takes no uploads.",
            "CacheHostsNotReady",
            "Maximum",
            0,
        ),
        (
            "media-cache-disk-full",
            f"The volume of the media cache is more than {disk_percent} % full.",
            "CacheVolumeUsedPercent",
            "Maximum",
            disk_percent,
        ),
    ):
        metric = metrics.of_function(
            "media_cache_cleanup", metric_name, statistic=statistic, minutes=_TWO_HOURS
        )
        alarms.add(AlarmSpec(name, meaning, metric, over=bound, below=statistic == "Minimum"))
