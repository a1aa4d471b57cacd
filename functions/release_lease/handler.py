"""State machine, `ReleaseLease`: free the lease; start anew where a publisher has returned meanwhile."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from livedub.supervision.function_telemetry import FunctionTelemetry

telemetry = FunctionTelemetry("release_lease")


@telemetry.handler(correlation_id="execution")
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Answer what became of the stream."""
    from livedub.supervision import function_work  # noqa: PLC0415 - a function must import fast

    telemetry.about(stream_id=str(event.get("stream_id", "")), execution=str(event.get("execution", "")))
    released = function_work.release(event)
    telemetry.count("Released")
    telemetry.count("Started", int(released["restarted"]))
    telemetry.logger.info("released: %s, restarted: %s", released["outcome"], released["restarted"])
    return released
