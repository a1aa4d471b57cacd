"""How the library's API answers: a model as JSON, or a MediaError with a stable code; and what it reports with."""

from __future__ import annotations

from aws_lambda_powertools.event_handler import Response
from pydantic import BaseModel

from livedub.library.api.refusals import is_ours, problem, status_of
from livedub.library.types import MediaError
from livedub.supervision.function_telemetry import FunctionTelemetry

JSON = "application/json"
HEADERS = {"cache-control": "no-store"}
"""On every answer: what it says is true for a moment, and some hold addresses that open files."""

telemetry = FunctionTelemetry("library_api")


def json_answer(status: int, body: BaseModel) -> Response[str]:
    """A model as an answer."""
    return Response(status_code=status, content_type=JSON, body=body.model_dump_json(), headers=dict(HEADERS))


def refused(error: Exception) -> tuple[int, MediaError]:
    """Status and body for a request that failed with `error`, which is logged and counted."""
    body = problem(error)
    status = status_of(body.code)
    telemetry.about(code=body.code.value)
    if is_ours(error):
        telemetry.logger.error("request failed", exc_info=error)
    else:
        telemetry.logger.warning("request refused: %s", error)
    telemetry.count("Failed" if status >= 500 else "Refused")
    return status, body
