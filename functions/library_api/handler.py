"""`/api/...` and `/graphql`: the media library's API, by bearer token; callbacks by signature."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.typing import LambdaContext

from livedub.library.api.answers import telemetry
from livedub.library.api.entry import respond


@telemetry.handler(correlation_id=correlation_paths.API_GATEWAY_HTTP)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Check who asks, then route."""
    return respond(event, context)
