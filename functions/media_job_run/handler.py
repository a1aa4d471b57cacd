"""State machine, `RunInFunction`: do a job that fits a function's time and disk."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from livedub.supervision.function_telemetry import FunctionTelemetry

telemetry = FunctionTelemetry("media_job_run")


@telemetry.handler(correlation_id="job_id")
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer how it ended; an exception hands the job to a host."""
    from livedub.library import job_functions  # noqa: PLC0415 - a function must import fast

    telemetry.about(job_id=str(event.get("job_id", "")))
    remaining_s = context.get_remaining_time_in_millis() / 1_000
    ended = job_functions.run_job_in_function(event, remaining_s=remaining_s)
    telemetry.about(attempt=ended["attempt"])
    telemetry.count("Jobs" + ended["state"].title())
    telemetry.logger.info("job: %s", ended["state"])
    return ended
