"""How HTTP functions answer: the result as JSON, or an ApiError with a stable code."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from livedub.supervision.function_telemetry import FunctionTelemetry

if TYPE_CHECKING:
    from livedub.supervision.contract import ApiError, Wire

CONTENT_TYPE = "application/json"
HEADERS = {"cache-control": "no-store"}
"""On every answer: what it says is true for a moment, and some hold stream keys."""


def answer(telemetry: FunctionTelemetry, work: Callable[[], Wire]) -> dict[str, Any]:
    """What `work` returns as an HTTP API's answer; what it raises as an ApiError."""
    try:
        return json_answer(200, work())
    except Exception as error:  # noqa: BLE001 - logged there; API Gateway's own answer would carry no code
        return json_answer(*refused(telemetry, error))


def refused(telemetry: FunctionTelemetry, error: Exception) -> tuple[int, ApiError]:
    """Status and body for a request that failed with `error`, which is logged and counted."""
    from livedub.supervision.refusals import refusal  # noqa: PLC0415 - a function must import fast

    status, body = refusal(error)
    telemetry.about(code=body.code)
    if status >= 500:
        telemetry.logger.error("request failed", exc_info=error)
        telemetry.count("Failed")
    else:
        telemetry.logger.warning("request refused: %s", body.message)
        telemetry.count("Refused")
    return status, body


def json_answer(status: int, body: Wire) -> dict[str, Any]:
    """An answer in payload format 2.0."""
    return {
        "statusCode": status,
        "headers": {"content-type": CONTENT_TYPE, **HEADERS},
        "body": body.model_dump_json(),
        "isBase64Encoded": False,
    }
