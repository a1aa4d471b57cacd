"""Metrics that livedub writes itself, by their names; one namespace an environment."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch


def namespace(environment: str) -> str:
    """POWERTOOLS_METRICS_NAMESPACE of an environment's functions and hosts."""
    return f"livedub/{environment}"


class OwnMetrics:
    """Of one environment."""

    def __init__(self, environment: str) -> None:
        self._namespace = namespace(environment)

    def of_streams(self, name: str) -> cloudwatch.Metric:
        """A gauge of livedub.supervision.stream_gauges, once a minute."""
        return self.of_function("reconcile_streams", name, statistic="Maximum")

    def of_hosts(
        self, service: str, name: str, *, statistic: str = "Maximum", minutes: int = 1
    ) -> cloudwatch.Metric:
        """What livedub-logs.service of all hosts of a kind tells; livedub.host_logs.host_use has the names."""
        return self.of_function(service, name, statistic=statistic, minutes=minutes)

    def of_function(
        self, function: str, name: str, *, statistic: str = "Sum", minutes: int = 1
    ) -> cloudwatch.Metric:
        """What the function in the folder `function` counts or measures."""
        return cloudwatch.Metric(
            namespace=self._namespace,
            metric_name=name,
            dimensions_map={"service": function},
            statistic=statistic,
            period=Duration.minutes(minutes),
        )
