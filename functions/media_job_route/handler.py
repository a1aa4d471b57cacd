"""State machine, `RouteJob`: in a function, on a host, or on many."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from livedub.supervision.function_telemetry import FunctionTelemetry

telemetry = FunctionTelemetry("media_job_route")


@telemetry.handler(correlation_id="job_id")
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Answer the state machine's next data."""
    from livedub.library import job_functions  # noqa: PLC0415 - a function must import fast

    telemetry.about(job_id=str(event.get("job_id", "")))
    routed = job_functions.route_job(event)
    telemetry.count("Routed" + routed["route"].title().replace("_", ""))
    telemetry.logger.info("route: %s", routed["route"])
    return routed
