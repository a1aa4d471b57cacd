"""State machine `rotate_tls`: what consumers trust, before the certificate changes and after."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from livedub.errors import InvalidInputError
from livedub.supervision.function_telemetry import FunctionTelemetry

telemetry = FunctionTelemetry("publish_tls_bundle")


@telemetry.handler(correlation_id="execution")
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """`step` is announce or drop."""
    from livedub.media_cache.tls_rotation.publish import (  # noqa: PLC0415 - a function must import fast
        TlsPublication,
    )
    from livedub.media_cache.tls_rotation.rotation_settings import TlsPublishSettings  # noqa: PLC0415
    from livedub.media_cache.tls_rotation.versions import Versions  # noqa: PLC0415

    step = str(event.get("step", ""))
    telemetry.about(execution=str(event.get("execution", "")), step=step)
    publication = TlsPublication.connect(TlsPublishSettings())  # pyright: ignore[reportCallIssue]
    if step == "announce":
        answer = publication.announce(Versions.of(event["versions"]))
    elif step == "drop":
        answer = publication.drop(event["drop"])
    else:
        raise InvalidInputError(f"step {step!r} is none.", remedy="Take one that the state machine has.")
    telemetry.count("BundlesChanged", len(answer["changed"]))
    telemetry.logger.info("bundles", extra={"answer": answer})
    return answer
