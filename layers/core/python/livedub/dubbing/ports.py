"""What the dubbing session needs from outside: a clock, an STS and somewhere for its events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from livedub.sts.contract import StsRequest, StsResult

EventSink = Callable[[dict[str, Any]], None]
"""Takes one event of the log; must not raise and must not block."""


class SessionClock(Protocol):
    """Time as the session sees it."""

    def now_media_ns(self) -> int:
        """The media time whose input is arriving now, in nanoseconds."""
        ...


class SpeechToSpeech(Protocol):
    """Dubs one fragment; raises `livedub.sts.errors.StsFailure` or answers with status error when it cannot."""

    async def process(self, request: StsRequest) -> StsResult:
        """Answer within the request's `deadline_ms`; safe to cancel."""
        ...
