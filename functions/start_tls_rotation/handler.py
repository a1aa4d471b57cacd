"""EventBridge, on changes of the media cache's certificate or key and hourly: start rotate_tls for what is stored now."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from livedub.supervision.function_telemetry import FunctionTelemetry

_SCHEDULED = "Scheduled Event"

telemetry = FunctionTelemetry("start_tls_rotation")


@telemetry.handler(correlation_id="id")
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Whatever the event says, what counts is what the stores hold; only a schedule's time is of interest."""
    from livedub.media_cache.tls_rotation.rotation_settings import (  # noqa: PLC0415 - a function must import fast
        TlsStartSettings,
    )
    from livedub.media_cache.tls_rotation.start import start_rotation  # noqa: PLC0415

    settings = TlsStartSettings()  # pyright: ignore[reportCallIssue]
    scheduled = event.get("detail-type") == _SCHEDULED
    answer = start_rotation(settings, str(event.get("time", "")) if scheduled else "")
    telemetry.logger.info("rotate_tls", extra={"hint": event.get("detail-type", ""), **answer})
    return answer
