"""`POST /v1/media/paths` keeps a relay's path list; it, and the schedule, compare lists with leases and repair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from aws_lambda_powertools.utilities.typing import LambdaContext

from livedub.supervision.function_telemetry import FunctionTelemetry
from livedub.supervision.http_answers import answer

if TYPE_CHECKING:
    from livedub.supervision.media_requests import ReconcileAnswer
    from livedub.supervision.stream_gauges import StreamGauges

telemetry = FunctionTelemetry("reconcile_streams")


@telemetry.handler(correlation_id="requestContext.requestId || id")
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Keep the list if one comes, then reconcile. Gauges go with the schedule: one value a minute, whoever reports."""
    if "requestContext" in event:
        return answer(telemetry, lambda: _reported(APIGatewayProxyEventV2(event)))
    done, gauges = _reconciled()
    for name, unit, value in gauges.metrics():
        telemetry.measure(name, unit, value)
    return done.model_dump()


def _reported(event: APIGatewayProxyEventV2) -> ReconcileAnswer:
    from livedub.supervision import function_work  # noqa: PLC0415 - a function must import fast

    report = function_work.read_report(event)
    telemetry.about(relay_id=report.relay_id, paths=len(report.paths))
    if not function_work.keep(report):
        telemetry.logger.info("a later path list is known")
    return _reconciled()[0]


def _reconciled() -> tuple[ReconcileAnswer, StreamGauges]:
    from livedub.supervision import function_work  # noqa: PLC0415 - a function must import fast

    done, gauges = function_work.reconcile()
    for name, amount in (("Repaired", done.noted + done.released), ("Started", done.started)):
        telemetry.count(name, amount)
    telemetry.count("RepairFailed", done.failed)
    telemetry.logger.info("reconciled", extra={"reconciled": done.model_dump()})
    return done, gauges
