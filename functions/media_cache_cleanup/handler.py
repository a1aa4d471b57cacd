"""EventBridge schedule, hourly: delete speech past its time from the media cache, then its catalogue rows."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.typing import LambdaContext

from livedub.errors import LivedubError
from livedub.supervision.function_telemetry import FunctionTelemetry

_RESERVE_S = 30.0
"""Of the function's time: for the batch at hand, closing and reporting."""

telemetry = FunctionTelemetry("media_cache_cleanup")


class CleanupFailedError(LivedubError):
    """Something that is over is still there; a failed invocation is what an alarm sees."""


@telemetry.handler(correlation_id=correlation_paths.EVENT_BRIDGE)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Clean up once; `{"dry_run": true}` only reports."""
    from livedub.media_cache.cleanup_run import (  # noqa: PLC0415 - a function must import fast
        clean_up,
        load_cleanup_settings,
    )
    from livedub.media_cache.host_watch import host_metrics  # noqa: PLC0415

    settings, cache_settings = load_cleanup_settings()
    # Seen by the one that comes by every hour: alarms tell what nobody else noticed.
    for name, unit, value in host_metrics(cache_settings, datetime.now(timezone.utc)):
        telemetry.measure(name, unit, value)
    dry_run = event.get("dry_run") is True
    within_s = max(1.0, context.get_remaining_time_in_millis() / 1_000 - _RESERVE_S)
    report = clean_up(settings, cache_settings, dry_run=dry_run, within_s=within_s)
    if not dry_run:
        telemetry.count("RowsRemoved", report.rows_removed)
        telemetry.count("ObjectsRemoved", report.objects_removed)
        telemetry.count("RowsKept", report.rows_kept)
        telemetry.count("StoppedEarly", int(not report.complete))
    telemetry.logger.info("cleaned up", extra={"cleanup": asdict(report), "dry_run": dry_run})
    if report.failed:
        raise CleanupFailedError(
            f"{report.rows_kept} rows kept: {report.problem}", remedy="Look at the cache host and its token."
        )
    return asdict(report)
