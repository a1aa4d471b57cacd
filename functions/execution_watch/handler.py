"""EventBridge: an execution was aborted, timed out or failed; release what the state machine could not."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.data_classes import EventBridgeEvent
from aws_lambda_powertools.utilities.typing import LambdaContext

from livedub.supervision.function_telemetry import FunctionTelemetry

telemetry = FunctionTelemetry("execution_watch")


@telemetry.handler(correlation_id=correlation_paths.EVENT_BRIDGE)
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Free the lease and start anew where needed."""
    from livedub.supervision import function_work  # noqa: PLC0415 - a function must import fast

    detail = EventBridgeEvent(event).detail
    telemetry.about(execution=str(detail.get("name", "")), status=str(detail.get("status", "")))
    released = function_work.execution_over(detail)
    telemetry.about(stream_id=released["stream_id"])
    telemetry.count("ExecutionDied")
    telemetry.logger.warning("execution died; restarted: %s", released["restarted"])
    return released
