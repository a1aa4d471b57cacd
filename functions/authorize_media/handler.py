"""`POST /v1/media/authorize`: may this connection publish, or play, that path? No answer means no."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from aws_lambda_powertools.utilities.typing import LambdaContext

from livedub.supervision.function_telemetry import FunctionTelemetry
from livedub.supervision.http_answers import answer

if TYPE_CHECKING:
    from livedub.supervision.contract import MediaPermit

telemetry = FunctionTelemetry("authorize_media")


@telemetry.handler(correlation_id=correlation_paths.API_GATEWAY_HTTP)
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Verify the relay, then decide."""
    return answer(telemetry, lambda: _work(APIGatewayProxyEventV2(event)))


def _work(event: APIGatewayProxyEventV2) -> MediaPermit:
    from livedub.supervision import function_work  # noqa: PLC0415 - a function must import fast

    request = function_work.read_authorization(event)
    telemetry.about(relay_id=request.relay_id, path=request.path, action=request.action)
    permit = function_work.admit(request)
    telemetry.about(stream_id=permit.stream_id, generation=permit.generation or 0)
    telemetry.count("Admitted")
    telemetry.logger.info("admitted")
    return permit
