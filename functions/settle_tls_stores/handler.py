"""State machine `rotate_tls`: mark the pair that is served, or take back the one that cannot be."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from livedub.errors import InvalidInputError
from livedub.supervision.function_telemetry import FunctionTelemetry

telemetry = FunctionTelemetry("settle_tls_stores")


@telemetry.handler(correlation_id="execution")
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """`step` is keep or take_back; both count, for a rotation that was taken back is one that failed."""
    from livedub.media_cache.tls_rotation.rotation_settings import (  # noqa: PLC0415 - a function must import fast
        TlsStoresSettings,
    )
    from livedub.media_cache.tls_rotation.rotation_store import TlsRotationStore  # noqa: PLC0415
    from livedub.media_cache.tls_rotation.settle import keep, take_back  # noqa: PLC0415
    from livedub.media_cache.tls_rotation.versions import Versions  # noqa: PLC0415

    steps = {"keep": keep, "take_back": take_back}
    step = str(event.get("step", ""))
    telemetry.about(execution=str(event.get("execution", "")), step=step)
    if step not in steps:
        raise InvalidInputError(f"step {step!r} is none.", remedy="Take one that the state machine has.")
    settings = TlsStoresSettings()  # pyright: ignore[reportCallIssue]
    answer = steps[step](TlsRotationStore.connect(settings.namespace), Versions.of(event["versions"]))
    telemetry.count("RotationsKept" if step == "keep" else "RotationsTakenBack")
    telemetry.logger.info("settled", extra={"answer": answer})
    return answer
