"""State machine `rotate_tls`, inside the VPC: what is stored, what is served, what comes next."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from livedub.errors import InvalidInputError
from livedub.supervision.function_telemetry import FunctionTelemetry

telemetry = FunctionTelemetry("check_tls")


@telemetry.handler(correlation_id="execution")
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """`step` says which look: plan, verify, retire or verify_back."""
    from livedub.media_cache.tls_rotation.check import TlsCheck  # noqa: PLC0415 - a function must import fast
    from livedub.media_cache.tls_rotation.rotation_settings import TlsCheckSettings  # noqa: PLC0415
    from livedub.media_cache.tls_rotation.versions import Versions  # noqa: PLC0415

    step = str(event.get("step", ""))
    telemetry.about(execution=str(event.get("execution", "")), step=step)
    check = TlsCheck.connect(TlsCheckSettings())  # pyright: ignore[reportCallIssue]
    if step == "plan":
        answer = check.plan(Versions.of(event["versions"]), _age_s(str(event["began"])))
    elif step == "verify":
        answer = check.verify(Versions.of(event["versions"]), str(event["new"]))
    elif step == "retire":
        answer = check.retire(event["vouching"])
    elif step == "verify_back":
        answer = check.verify_back(str(event["old"]), event["adding"])
    else:
        raise InvalidInputError(f"step {step!r} is none.", remedy="Take one that the state machine has.")
    telemetry.logger.info("looked", extra={"answer": answer})
    return answer


def _age_s(began: str) -> float:
    """How long the execution has been running; `began` is its StartTime."""
    then = datetime.fromisoformat(began.replace("Z", "+00:00"))
    return (datetime.now(timezone.utc) - then).total_seconds()
