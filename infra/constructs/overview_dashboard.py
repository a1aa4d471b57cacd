"""One page an environment: is it dubbing, who waits, what fails, how full is it."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_apigatewayv2 as apigatewayv2
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_rds as rds
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.constructs.alarms import MINUTE
from infra.constructs.own_metrics import OwnMetrics
from livedub.host_logs.host_use import DISK, MEMORY
from livedub.supervision.overview import State
from livedub.supervision.stream_gauges import metric_of

_WIDTH = 24
_HALF = 12
_HEIGHT = 6


@dataclass(frozen=True, slots=True)
class Shown:
    """What is drawn, beside livedub's own metrics.

    Attributes:
        alarms: state of each, at the top.
        queues: work queues by what they are called.
        apis: APIs by what they are called.
        machines: ARNs of state machines by what they are called.
        functions: of all parts.
        database: the Postgres.
        hosts: instance ids by what the hosts are called.
        services: what kinds of hosts are called in logs and metrics.
    """

    alarms: Sequence[cloudwatch.IAlarm]
    queues: Mapping[str, sqs.IQueue]
    apis: Mapping[str, apigatewayv2.HttpApi]
    machines: Mapping[str, str]
    functions: Sequence[lambda_.Function]
    database: rds.DatabaseInstance
    hosts: Mapping[str, str] = field(default_factory=dict[str, str])
    services: Sequence[str] = ()


class OverviewDashboard(Construct):
    """Drawn from what alarms watch, and a little more."""

    def __init__(
        self, scope: Construct, construct_id: str, *, environment: str, metrics: OwnMetrics, shown: Shown
    ) -> None:
        super().__init__(scope, construct_id)
        self.dashboard = cloudwatch.Dashboard(
            self,
            "Dashboard",
            dashboard_name=f"livedub-{environment}",
            default_interval=Duration.hours(3),
            widgets=[
                [cloudwatch.AlarmStatusWidget(alarms=list(shown.alarms), width=_WIDTH, height=4)],
                _streams(metrics),
                _work(shown),
                _apis(shown),
                _functions(shown.functions),
                _stores_and_hosts(shown),
                _use_of_hosts(metrics, shown.services),
            ],
        )
        self.dashboard.apply_removal_policy(RemovalPolicy.DESTROY)


def _streams(metrics: OwnMetrics) -> list[cloudwatch.IWidget]:
    states: tuple[State, ...] = get_args(State)
    return [
        _graph(
            "Streams by state",
            [metrics.of_streams(metric_of(state)).with_(label=state) for state in states],
            stacked=True,
        ),
        _graph(
            "Longest wait (s), relays",
            [metrics.of_streams(name) for name in ("LongestWaiting", "LongestStarting", "LongestUnattended")],
            right=[metrics.of_streams(name) for name in ("RelaysReporting", "RelaysSilent")],
        ),
    ]


def _work(shown: Shown) -> list[cloudwatch.IWidget]:
    return [
        _graph(
            "Work that waits: messages, age of the oldest (s)",
            [
                queue.metric_approximate_number_of_messages_visible(
                    period=MINUTE, statistic="Maximum", label=name
                )
                for name, queue in shown.queues.items()
            ],
            right=[
                queue.metric_approximate_age_of_oldest_message(
                    period=MINUTE, statistic="Maximum", label=f"{name}, age"
                )
                for name, queue in shown.queues.items()
            ],
        ),
        _graph(
            "Executions",
            [
                cloudwatch.Metric(
                    namespace="AWS/States",
                    metric_name=metric_name,
                    dimensions_map={"StateMachineArn": arn},
                    statistic="Sum",
                    period=MINUTE,
                    label=f"{name}: {what}",
                )
                for name, arn in shown.machines.items()
                for metric_name, what in (
                    ("ExecutionsStarted", "started"),
                    ("ExecutionsFailed", "failed"),
                    ("ExecutionsTimedOut", "timed out"),
                )
            ],
        ),
    ]


def _apis(shown: Shown) -> list[cloudwatch.IWidget]:
    return [
        _graph(
            f"API of {name}: requests, latency (ms, p95)",
            [
                api.metric_count(period=MINUTE, statistic="Sum", label="requests"),
                api.metric_client_error(period=MINUTE, statistic="Sum", label="4xx"),
                api.metric_server_error(period=MINUTE, statistic="Sum", label="5xx"),
            ],
            right=[api.metric_latency(period=MINUTE, statistic="p95", label="latency")],
        )
        for name, api in shown.apis.items()
    ]


def _functions(functions: Sequence[lambda_.Function]) -> list[cloudwatch.IWidget]:
    return [
        _graph(
            title,
            [
                function.metric(metric_name, period=MINUTE, statistic=statistic, label=function.node.id)
                for function in functions
            ],
        )
        for title, metric_name, statistic in (
            ("Functions: errors", "Errors", "Sum"),
            ("Functions: duration (ms, p95)", "Duration", "p95"),
        )
    ]


def _stores_and_hosts(shown: Shown) -> list[cloudwatch.IWidget]:
    five = Duration.minutes(5)
    widgets: list[cloudwatch.IWidget] = [
        _graph(
            "Postgres: processor (%), free storage (bytes)",
            [shown.database.metric_cpu_utilization(period=five)],
            right=[shown.database.metric_free_storage_space(period=five)],
        )
    ]
    if shown.hosts:
        cpu = [
            cloudwatch.Metric(
                namespace="AWS/EC2",
                metric_name="CPUUtilization",
                dimensions_map={"InstanceId": instance_id},
                period=MINUTE,
                label=name,
            )
            for name, instance_id in shown.hosts.items()
        ]
        widgets.append(_graph("Hosts: processor (%)", cpu))
    return widgets


def _use_of_hosts(metrics: OwnMetrics, services: Sequence[str]) -> list[cloudwatch.IWidget]:
    return [
        _graph(title, [metrics.of_hosts(service, metric_name).with_(label=service) for service in services])
        for title, metric_name in (
            ("Hosts: fullest volume (%)", DISK),
            ("Hosts: memory (%)", MEMORY),
        )
    ]


def _graph(
    title: str,
    left: Iterable[cloudwatch.IMetric],
    *,
    right: Iterable[cloudwatch.IMetric] = (),
    stacked: bool = False,
) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(
        title=title, left=list(left), right=list(right), stacked=stacked, width=_HALF, height=_HEIGHT
    )
