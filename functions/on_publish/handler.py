"""`POST /v1/hooks/publish`: a path got its publisher; start an execution where nobody owns the stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from aws_lambda_powertools.utilities.typing import LambdaContext

from livedub.supervision.function_telemetry import FunctionTelemetry
from livedub.supervision.http_answers import answer

if TYPE_CHECKING:
    from livedub.supervision.media_requests import HookAnswer

telemetry = FunctionTelemetry("on_publish")


@telemetry.handler(correlation_id=correlation_paths.API_GATEWAY_HTTP)
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Verify, note the publisher, start."""
    return answer(telemetry, lambda: _work(APIGatewayProxyEventV2(event)))


def _work(event: APIGatewayProxyEventV2) -> HookAnswer:
    from livedub.supervision import function_work  # noqa: PLC0415 - a function must import fast

    hook = function_work.read_hook(event)
    telemetry.about(relay_id=hook.relay_id, path=hook.path, source_id=hook.source_id)
    taken = function_work.publish(hook)
    telemetry.about(stream_id=taken.stream_id, generation=taken.generation)
    telemetry.count("Started" if taken.started else "NotStarted")
    telemetry.logger.info("publisher on: %s", taken.reason)
    return taken
