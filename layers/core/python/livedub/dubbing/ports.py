"""What the dubbing session needs from outside: a clock, an STS and somewhere for its events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from livedub.dubbing.fragment import DubbingFragment, LanguageDub
from livedub.sts.contract import StsPartial, StsRequest, StsResult

EventSink = Callable[[dict[str, Any]], None]
"""Takes one event of the log; must not raise and must not block."""


LanguageSink = Callable[[DubbingFragment, LanguageDub], None]
"""Told when it is decided what of a fragment airs in one language, and once more where its answer comes after that;
must not raise and must not block."""


class SessionClock(Protocol):
    """Time as the session sees it."""

    def now_media_ns(self) -> int:
        """The media time whose input is arriving now, in nanoseconds."""
        ...


class SpeechToSpeech(Protocol):
    """Dubs one fragment; raises `livedub.sts.errors.StsFailure` or answers with status error when it cannot."""

    async def process(
        self, request: StsRequest, on_partial: Callable[[StsPartial], Awaitable[None]] | None = None
    ) -> StsResult:
        """Answer within the request's `deadline_ms`; safe to cancel.

        `on_partial` is awaited, in order, with what is known ahead of the answer, which holds it all again.
        """
        ...
