"""What operators ask of a stream."""

from __future__ import annotations

from dataclasses import replace

from livedub.supervision.journal import noted
from livedub.supervision.record import Desired, StreamRecord


def start(record: StreamRecord, now_ms: int) -> StreamRecord:
    """Dub whenever a publisher is on; a resting stream is tried again at once, with its whole budget."""
    changed = replace(
        record,
        desired=Desired.RUNNING,
        drained_source_id="",
        degraded_until_ms=None,
        restarts_ms=() if record.degraded_until_ms is not None else record.restarts_ms,
    )
    return record if changed == record else noted(changed, now_ms, "start")


def stop(record: StreamRecord, now_ms: int) -> StreamRecord:
    """End now and stay off until started."""
    if record.desired is Desired.STOPPED:
        return record
    return noted(replace(record, desired=Desired.STOPPED, drained_source_id=""), now_ms, "stop")


def drain(record: StreamRecord, now_ms: int) -> StreamRecord:
    """Play out what is buffered and end; the next publisher starts the stream again.

    A stopped stream stays stopped.
    """
    if record.desired is not Desired.RUNNING:
        return record
    on_now = record.source.source_id if record.source is not None else ""
    return noted(replace(record, desired=Desired.DRAINED, drained_source_id=on_now), now_ms, "drain")
