"""What says that a host fills up, or that nobody hears of it any more: what livedub-logs.service of every host tells."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch

from infra.constructs.alarms import Alarms, AlarmSpec
from infra.constructs.own_metrics import OwnMetrics
from livedub.host_logs.host_use import DISK, MEMORY

_FIVE = 5
_QUARTER = 15
"""Each host tells once a minute."""


def add_use_alarms(
    alarms: Alarms, metrics: OwnMetrics, service: str, *, disk_percent: int, memory_percent: int
) -> None:
    """The fullest of all hosts of a kind; which one it is, their log says."""
    for name, what, metric_name, bound, of in (
        ("disk-full", "A volume", DISK, disk_percent, (1, 1)),
        ("memory-full", "The memory", MEMORY, memory_percent, (2, 2)),
    ):
        alarms.add(
            AlarmSpec(
                f"{service}-{name}",
                f"{what} of a host is more than {bound} % full.",
                metrics.of_hosts(service, metric_name, minutes=_FIVE),
                over=bound,
                of=of,
            )
        )


def add_silence_alarm(alarms: Alarms, metrics: OwnMetrics, service: str) -> None:
    """Of a machine that is always there."""
    alarms.add(
        AlarmSpec(
            f"{service}-silent",
            "No log of the host has arrived for 15 minutes.",
            metrics.of_hosts(service, DISK, statistic="SampleCount", minutes=_QUARTER),
            over=1,
            below=True,
            silence=True,
        )
    )


def add_group_silence_alarm(alarms: Alarms, metrics: OwnMetrics, service: str, group_name: str) -> None:
    """Of a group: hosts in service against those that tell."""
    by_name = {
        "inservice": cloudwatch.Metric(
            namespace="AWS/AutoScaling",
            metric_name="GroupInServiceInstances",
            dimensions_map={"AutoScalingGroupName": group_name},
            statistic="Average",
            period=Duration.minutes(_QUARTER),
        ),
        "told": metrics.of_hosts(service, DISK, statistic="SampleCount", minutes=_QUARTER),
    }
    alarms.add(
        AlarmSpec(
            f"{service}-silent",
            "Logs of a host in service have not arrived for 15 minutes.",
            cloudwatch.MathExpression(
                expression=f"inservice - FILL(told, 0) / {_QUARTER}",
                using_metrics=by_name,
                label="silent",
                period=Duration.minutes(_QUARTER),
            ),
            # A minute more or less at the ends of a quarter of an hour is no host.
            over=0.5,
            of=(2, 2),
        )
    )
