"""EventBridge: a stream's execution has begun; have RunPod start a worker while a host is still being found."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.data_classes import EventBridgeEvent
from aws_lambda_powertools.utilities.typing import LambdaContext

from livedub.supervision.function_telemetry import FunctionTelemetry

telemetry = FunctionTelemetry("warm_sts")


@telemetry.handler(correlation_id=correlation_paths.EVENT_BRIDGE)
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Look, and ask where nobody is awake. That RunPod does not answer is no failure: the stream asks again itself."""
    from livedub.sts.errors import StsFailure  # noqa: PLC0415 - a function must import fast
    from livedub.supervision.sts_parameter_store import StsParameterStore  # noqa: PLC0415
    from livedub.supervision.sts_warm_up import load_warm_up_settings, warm_up  # noqa: PLC0415

    telemetry.about(execution=str(EventBridgeEvent(event).detail.get("name", "")))
    settings = load_warm_up_settings()
    try:
        readiness = warm_up(settings, StsParameterStore.connect())
    except StsFailure as failure:
        telemetry.count("WarmUpFailed")
        telemetry.logger.warning("speech to speech was not woken up: %s", failure)
        return {"readiness": "unknown"}
    found = readiness.value if readiness else "not RunPod"
    telemetry.count("WarmUpAsked", int(found == "asleep"))
    telemetry.logger.info("speech to speech was found %s", found)
    return {"readiness": found}
