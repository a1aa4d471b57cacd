"""The size rule: where the state machine has a job done."""

from __future__ import annotations

from enum import Enum

from livedub.library.library_settings import LibrarySettings
from livedub.library.types import Job, JobKind


class Route(str, Enum):
    """Where."""

    FUNCTION = "function"
    """In a Lambda function: it fits its time and its disk."""
    HOST = "host"
    """On one host, from the queue."""
    FAN_OUT = "fan_out"
    """Divided into ranges, on many hosts at once."""


def route_of(
    job: Job, *, size_bytes: int | None, duration_ms: int | None, settings: LibrarySettings
) -> Route:
    """Where a job is done.

    Args:
        job: the job.
        size_bytes: of its source; None where there is no telling.
        duration_ms: of its source; None where nobody has read it yet.
        settings: LIBRARY_FUNCTION_MAX_BYTES, LIBRARY_FUNCTION_HAS_FFMPEG, LIBRARY_FAN_OUT_MIN_S.
    """
    if job.kind is JobKind.DUB:
        long_ms = settings.fan_out_min_s * 1_000
        return Route.FAN_OUT if long_ms and duration_ms is not None and duration_ms >= long_ms else Route.HOST
    if job.kind is JobKind.TRANSCODE and not settings.function_has_ffmpeg:
        return Route.HOST
    # A source that cannot be asked for fails the same way everywhere, and soonest in a function.
    fits = size_bytes is None or size_bytes <= settings.function_max_bytes
    return Route.FUNCTION if settings.function_max_bytes and fits else Route.HOST
