"""EventBridge schedule, every minute: submit jobs again that no execution was started for."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.typing import LambdaContext

from livedub.supervision.function_telemetry import FunctionTelemetry

telemetry = FunctionTelemetry("media_job_sweep")


@telemetry.handler(correlation_id=correlation_paths.EVENT_BRIDGE)
def handler(_event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Answer how many."""
    from livedub.library import job_functions  # noqa: PLC0415 - a function must import fast

    swept = job_functions.sweep_jobs()
    telemetry.count("JobsGivenAgain", swept["given_again"])
    telemetry.logger.info("given again: %d", swept["given_again"])
    return swept
