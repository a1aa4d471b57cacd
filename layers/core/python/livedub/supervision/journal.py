"""What happened to a stream, kept with it for operators. Bounded: the latest entries win."""

from __future__ import annotations

from dataclasses import replace

from livedub.supervision.record import JOURNAL_LENGTH, JournalEntry, StreamRecord

_DETAIL_LENGTH = 300


def noted(record: StreamRecord, now_ms: int, event: str, detail: str = "") -> StreamRecord:
    """The record with one more entry, stamped with its current generation."""
    entry = JournalEntry(now_ms, event, record.lease.generation, detail[:_DETAIL_LENGTH])
    return replace(record, journal=(*record.journal, entry)[-JOURNAL_LENGTH:])
