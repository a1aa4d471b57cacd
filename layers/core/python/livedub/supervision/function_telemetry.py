"""Logs, metrics and traces of one Lambda function, by Powertools, the same way in all of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from livedub.supervision.xray_segments import XrayDatagrams

NAMESPACE = "livedub"
"""Of metrics where POWERTOOLS_METRICS_NAMESPACE does not say another."""

_Handler = Callable[[Any, Any], dict[str, Any]]


class FunctionTelemetry:
    """What a handler reports with. Nothing that was sent to it goes into a log: bodies hold credentials."""

    def __init__(self, service: str) -> None:
        """`service` is the name of the function's folder."""
        self.logger = Logger(service=service)
        # POWERTOOLS_METRICS_NAMESPACE names the environment too: several may share an account.
        self.metrics = Metrics(service=service)
        self.metrics.namespace = self.metrics.namespace or NAMESPACE
        self._traces = XrayDatagrams()
        self.tracer = Tracer(service=service, provider=self._traces, auto_patch=False, disabled=False)

    def handler(self, *, correlation_id: str) -> Callable[[_Handler], _Handler]:
        """Decorate a handler; `correlation_id` is the JMESPath of what ties its lines to its caller's."""

        def decorate(function: _Handler) -> _Handler:
            @functools.wraps(function)
            def called(event: Any, context: Any) -> dict[str, Any]:
                try:
                    return function(event, context)
                except Exception:
                    self.count("Failed")
                    raise

            counted = self.metrics.log_metrics(called, capture_cold_start_metric=True)
            traced = self.tracer.capture_lambda_handler(
                functools.wraps(function)(counted),
                # Answers hold stream keys.
                capture_response=False,
            )
            return self.logger.inject_lambda_context(
                traced, correlation_id_path=correlation_id, clear_state=True, log_event=False
            )

        return decorate

    def about(self, **fields: str | int) -> None:
        """Put what the call is about on every further line, and on the trace."""
        self.logger.append_keys(**fields)
        for name, value in fields.items():
            self._traces.put_annotation(name, value)

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a metric that counts."""
        self.measure(name, "Count", amount)

    def measure(self, name: str, unit: Literal["Count", "Percent", "Seconds"], value: float) -> None:
        """Report what a metric is at the moment."""
        self.metrics.add_metric(name=name, unit=MetricUnit(unit), value=value)
