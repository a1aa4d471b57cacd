"""The stream's own timeline, which outlives the worker that serves it.

Media time counts from the first sample a stream ever sent. A publisher's timestamps (PTS) are another matter: they
start anywhere and start over when it reconnects. `media = pts + media_offset_ns` joins the two, per ingest session.
What a successor needs to go on exactly where a dead worker was lies in a `TimelineOrigin`, kept in a `TimelineStore`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Protocol

from livedub.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class TimelineOrigin:
    """Where a stream's timeline hangs. Plain integers, so any store can keep it.

    Attributes:
        utc_ns: wall clock (Unix time) at which media time 0 arrived. A publisher's clock drifts against the wall by
            17 s a day at 200 ppm, so save it anew now and then as `utc_now - media_now`: `anchor` compares against it.
        media_offset_ns: media time minus PTS in the latest ingest session.
        delay_ms: D. A stream keeps it for life; another D is another timeline.
        generation: the worker incarnation that wrote this.
    """

    utc_ns: int
    media_offset_ns: int
    delay_ms: int
    generation: int

    @classmethod
    def begin(cls, *, pts_ns: int, utc_now_ns: int, delay_ms: int, generation: int) -> TimelineOrigin:
        """The origin of a new stream: its first sample, stamped `pts_ns` and arriving now, is media time 0."""
        return cls(utc_ns=utc_now_ns, media_offset_ns=-pts_ns, delay_ms=delay_ms, generation=generation)

    def to_json(self) -> dict[str, int]:
        """As a flat JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> TimelineOrigin:
        """Read what `to_json` wrote; fields that a newer release added are ignored.

        Raises:
            InvalidInputError: a field is missing or no integer.
        """
        values: dict[str, int] = {}
        for field in fields(cls):
            value = data.get(field.name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise InvalidInputError(
                    f"{field.name} of the stored timeline is {value!r}, but must be an integer.",
                    remedy="Delete the stored timeline to let the stream start a new one.",
                )
            values[field.name] = value
        return cls(**values)


class TimelineStore(Protocol):
    """Keeps origins where the next worker finds them: a file on one machine, the lease row when supervised."""

    def load(self, stream_id: str) -> TimelineOrigin | None:
        """The stream's origin, or None if it never ran."""
        ...

    def save(self, stream_id: str, origin: TimelineOrigin) -> None:
        """Replace the stream's origin, whole or not at all."""
        ...


def anchor(
    origin: TimelineOrigin,
    *,
    pts_ns: int,
    utc_now_ns: int,
    tolerance_ns: int,
    last_aired_media_ns: int | None = None,
) -> int:
    """The `media_offset_ns` for a new ingest session whose first sample, stamped `pts_ns`, arrives now.

    If the old offset still predicts this arrival, the publisher never stopped and only the worker is new: the offset
    stays, to the nanosecond. Otherwise the publisher is the new one: media time goes on by the wall clock, so the
    outage lasts on air as long as it lasted.

    Args:
        origin: as the last session left it.
        pts_ns: timestamp of the first sample of the new session.
        utc_now_ns: wall clock of its arrival.
        tolerance_ns: how far prediction and arrival may differ; covers network delay, a server's burst at the start
            of a subscription, and what the publisher's clock drifted since `origin.utc_ns` was saved.
        last_aired_media_ns: end of the media time already on air (or received, in a worker that lives on), if known; the
            session never starts before it, even where the wall clock was set back.
    """
    floor_ns = 0 if last_aired_media_ns is None else last_aired_media_ns
    elapsed_ns = utc_now_ns - origin.utc_ns
    continued_ns = pts_ns + origin.media_offset_ns
    if abs(elapsed_ns - continued_ns) <= tolerance_ns and (
        last_aired_media_ns is None or continued_ns >= floor_ns
    ):
        return origin.media_offset_ns
    return max(elapsed_ns, floor_ns) - pts_ns
