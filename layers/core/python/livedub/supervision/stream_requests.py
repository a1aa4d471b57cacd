"""What the stream API takes, under `/v1/streams`. What it answers: `overview`, and `ApiError` for every error."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from livedub.supervision.contract import Wire


class StreamRegistration(Wire):
    """`PUT /v1/streams/{stream_id}`: create a stream, or replace the settings of one that exists.

    A new stream gets a stream key, unless it is `open`: then whoever reaches the media server may publish `in`.
    """

    settings: dict[str, Any] = Field(default_factory=dict)
    open: bool = False


class SettingsChange(Wire):
    """`PATCH /v1/streams/{stream_id}/settings`: null takes a setting back to its default.

    `restart` allows what a running worker cannot take over; without it that is refused (RESTART_REQUIRED).
    """

    settings: dict[str, Any]
    restart: bool = False
