"""State machine, `AcquireLease`: give the stream to this execution, as the next generation or by adoption."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from livedub.supervision.function_telemetry import FunctionTelemetry

telemetry = FunctionTelemetry("acquire_lease")


@telemetry.handler(correlation_id="execution")
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Answer the state machine's next data."""
    from livedub.supervision import function_work  # noqa: PLC0415 - a function must import fast

    telemetry.about(stream_id=str(event.get("stream_id", "")), execution=str(event.get("execution", "")))
    acquired = function_work.acquire(event)
    telemetry.about(generation=acquired.get("generation", 0), attempt=acquired["attempt"])
    telemetry.count("Lease" + acquired["status"].title().replace("_", ""))
    telemetry.logger.info("lease: %s", acquired["status"])
    return acquired
