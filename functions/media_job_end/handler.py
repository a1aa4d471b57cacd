"""State machine, `ReportEnd`: tell the library's API how the job ended, by its signed callback."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from livedub.supervision.function_telemetry import FunctionTelemetry

telemetry = FunctionTelemetry("media_job_end")


@telemetry.handler(correlation_id="job_id")
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Answer the job's last state."""
    from livedub.library import job_functions  # noqa: PLC0415 - a function must import fast

    telemetry.about(job_id=str(event.get("job_id", "")))
    ended = job_functions.end_job(event)
    telemetry.count("Ended" + ended["state"].title())
    telemetry.logger.info("end: %s", ended["state"])
    return ended
