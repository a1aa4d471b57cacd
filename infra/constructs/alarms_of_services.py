"""What says that an API or the Postgres does not do its work."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_apigatewayv2 as apigatewayv2
from aws_cdk import aws_rds as rds

from infra.constructs.alarms import Alarms, AlarmSpec

_FIVE = Duration.minutes(5)
_FEW_ERRORS = 5
_BYTES_PER_GB = 2**30
_BUSY_PERCENT = 90


def add_api_alarm(alarms: Alarms, name: str, api: apigatewayv2.HttpApi) -> None:
    """Requests that were answered 5xx: by a function that failed, or for want of one."""
    alarms.add(
        AlarmSpec(
            f"{name}-errors",
            f"More than {_FEW_ERRORS} requests in 5 minutes were answered 5xx.",
            api.metric_server_error(period=_FIVE, statistic="Sum"),
            over=_FEW_ERRORS,
        )
    )


def add_database_alarms(
    alarms: Alarms, instance: rds.DatabaseInstance, *, least_free_gb: int, most_connections: int
) -> None:
    """Room, time and connections of the Postgres."""
    for spec in (
        AlarmSpec(
            "database-full",
            f"The Postgres has less than {least_free_gb} GB left.",
            instance.metric_free_storage_space(period=_FIVE, statistic="Minimum"),
            over=least_free_gb * _BYTES_PER_GB,
            below=True,
        ),
        AlarmSpec(
            "database-busy",
            f"The Postgres was at more than {_BUSY_PERCENT} % of its processors for 15 minutes.",
            instance.metric_cpu_utilization(period=_FIVE, statistic="Average"),
            over=_BUSY_PERCENT,
            of=(3, 3),
        ),
        AlarmSpec(
            "database-connections",
            f"The Postgres has more than {most_connections} connections.",
            instance.metric_database_connections(period=_FIVE, statistic="Maximum"),
            over=most_connections,
            of=(2, 2),
        ),
        AlarmSpec(
            "database-silent",
            "The Postgres reports nothing: it does not run.",
            instance.metric_cpu_utilization(period=_FIVE, statistic="SampleCount"),
            over=1,
            of=(3, 3),
            below=True,
            silence=True,
        ),
    ):
        alarms.add(spec)
