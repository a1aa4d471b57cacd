"""State machine, `ClassifyOutcome`: what follows the end of a worker."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from livedub.supervision.function_telemetry import FunctionTelemetry

telemetry = FunctionTelemetry("classify_outcome")


@telemetry.handler(correlation_id="execution")
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Answer the verdict."""
    from livedub.supervision import function_work  # noqa: PLC0415 - a function must import fast

    telemetry.about(stream_id=str(event.get("stream_id", "")), execution=str(event.get("execution", "")))
    verdict = function_work.classify(event)
    telemetry.about(generation=verdict["generation"], outcome=verdict["outcome"])
    telemetry.count("Outcome" + verdict["outcome"].title().replace("_", ""))
    telemetry.logger.info("%s, then %s: %s", verdict["outcome"], verdict["action"], verdict["detail"])
    return verdict
