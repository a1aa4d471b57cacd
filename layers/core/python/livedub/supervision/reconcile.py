"""Repair what hooks and crashes left behind: compare what is published with who owns it.

`plan` only says what differs, with a reason; each action is carried out by a rule of its own on the record as it is
by then, so a plan that is out of date does no harm and a repeated one does nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from livedub.errors import InvalidInputError
from livedub.supervision.contract import PathReport, PublishedPath
from livedub.supervision.hooks import with_source
from livedub.supervision.journal import noted
from livedub.supervision.lease import expired, release, startable
from livedub.supervision.naming import next_execution_name
from livedub.supervision.paths import parse_path
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import Outcome, Phase, StreamRecord

_NAME_BUCKET_MS = 10_000
"""Starts within one bucket carry one name: two reconciles at once start one execution."""


@dataclass(frozen=True, slots=True)
class Start:
    """A publisher is on and wanted and nobody owns the stream: start `execution`."""

    stream_id: str
    source_id: str
    execution: str
    reason: str


@dataclass(frozen=True, slots=True)
class NoteAbsent:
    """The record's publisher is on no list: its hook was lost."""

    stream_id: str
    source_id: str
    taken_at_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class NotePresent:
    """A publisher is on that the record does not know: its hook was lost."""

    stream_id: str
    source_id: str
    report: PathReport
    reason: str


@dataclass(frozen=True, slots=True)
class ReleaseExpired:
    """The lease is over and its execution does not renew it: free it."""

    stream_id: str
    generation: int
    execution: str
    reason: str


Action: TypeAlias = Start | NoteAbsent | NotePresent | ReleaseExpired


def plan(
    records: Sequence[StreamRecord], reports: Sequence[PathReport], now_ms: int, policy: SupervisionPolicy
) -> list[Action]:
    """What to repair, in the order it shall be done.

    Args:
        records: the streams to look at.
        reports: path lists; of one relay's several only the latest counts.
        now_ms: the time.
        policy: bounds.
    """
    latest = _latest(reports, now_ms, policy)
    seen = _sources(latest.values())
    actions: list[Action] = []
    for record in records:
        sighted = seen.get(record.stream_id, [])
        noticed = _notice(record, latest, sighted)
        actions += noticed
        for action in noticed:
            record = apply(record, action, now_ms=now_ms, policy=policy)  # noqa: PLW2901 - what the record will be
        actions += _own(record, now_ms, policy)
    return actions


def published_streams(reports: Sequence[PathReport], now_ms: int, policy: SupervisionPolicy) -> set[str]:
    """The streams whose original is on one of the latest path lists."""
    return set(_sources(_latest(reports, now_ms, policy).values()))


def apply(record: StreamRecord, action: Action, *, now_ms: int, policy: SupervisionPolicy) -> StreamRecord:
    """The record with `action` carried out, or unchanged where it no longer applies. A Start changes no record."""
    if isinstance(action, NoteAbsent):
        return _absent(record, action, now_ms)
    if isinstance(action, NotePresent):
        return _present(record, action, now_ms)
    if isinstance(action, ReleaseExpired):
        return _released(record, action, now_ms, policy)
    return record


def _latest(
    reports: Sequence[PathReport], now_ms: int, policy: SupervisionPolicy
) -> Mapping[str, PathReport]:
    """The newest list of each relay that is fresh enough to say who is absent."""
    oldest_ms = now_ms - policy.report_stale_s * 1_000
    latest: dict[str, PathReport] = {}
    for report in sorted(reports, key=lambda report: report.taken_at_ms):
        if report.taken_at_ms >= oldest_ms:
            latest[report.relay_id] = report
    return latest


def _sources(reports: Iterable[PathReport]) -> dict[str, list[tuple[PathReport, PublishedPath]]]:
    found: dict[str, list[tuple[PathReport, PublishedPath]]] = {}
    for report in reports:
        for published in report.paths:
            try:
                path = parse_path(published.path)
            except InvalidInputError:
                continue
            if path.is_input:
                found.setdefault(path.stream_id, []).append((report, published))
    return found


def _notice(
    record: StreamRecord,
    latest: Mapping[str, PathReport],
    sighted: Sequence[tuple[PathReport, PublishedPath]],
) -> list[Action]:
    for report, published in sighted:
        if _is_the_current(record, report, published):
            return []
    for report, published in sighted:
        if _is_news(record, latest, report, published):
            reason = f"relay {report.relay_id} lists publisher {published.source_id}"
            return [NotePresent(record.stream_id, published.source_id, report, reason)]
    if _is_missing(record, latest):
        source = record.source
        relay_id = record.media.relay_id if record.media else ""
        if source is not None:
            reason = f"relay {relay_id} no longer lists publisher {source.source_id}"
            taken_at_ms = latest[relay_id].taken_at_ms
            return [NoteAbsent(record.stream_id, source.source_id, taken_at_ms, reason)]
    return []


def _is_the_current(record: StreamRecord, report: PathReport, published: PublishedPath) -> bool:
    source = record.source
    return (
        source is not None
        and source.absent_since_ms is None
        and source.source_id == published.source_id
        and record.media is not None
        and record.media.relay_id == report.relay_id
    )


def _is_missing(record: StreamRecord, latest: Mapping[str, PathReport]) -> bool:
    """Whether the record's publisher is on, but its relay's list, taken later, lacks it."""
    source, media = record.source, record.media
    if source is None or media is None or source.absent_since_ms is not None:
        return False
    report = latest.get(media.relay_id)
    return report is not None and report.taken_at_ms > source.since_ms


def _is_news(
    record: StreamRecord, latest: Mapping[str, PathReport], report: PathReport, published: PublishedPath
) -> bool:
    """Whether `published` is a publisher that the record should know: not one that has left, nor an older sight."""
    source, media = record.source, record.media
    if source is None or media is None:
        return source is None or published.source_id not in source.gone_source_ids
    if published.source_id in source.gone_source_ids:
        return False
    if media.relay_id == report.relay_id:
        known_ms = source.since_ms if source.absent_since_ms is None else source.absent_since_ms
        return report.taken_at_ms > known_ms
    return source.absent_since_ms is not None or _is_missing(record, latest)


def _own(record: StreamRecord, now_ms: int, policy: SupervisionPolicy) -> list[Action]:
    lease = record.lease
    actions: list[Action] = []
    if lease.phase is not Phase.FREE and expired(lease, now_ms, policy):
        reason = f"nobody renewed generation {lease.generation} of execution {lease.execution}"
        actions.append(ReleaseExpired(record.stream_id, lease.generation, lease.execution, reason))
    if record.source is not None and startable(record, now_ms, policy):
        salt = f"-{now_ms // _NAME_BUCKET_MS}"
        execution = next_execution_name(record, salt=salt)
        reason = "a publisher is on and nobody owns the stream"
        actions.append(Start(record.stream_id, record.source.source_id, execution, reason))
    return actions


def _absent(record: StreamRecord, action: NoteAbsent, now_ms: int) -> StreamRecord:
    source = record.source
    applies = (
        source is not None
        and source.source_id == action.source_id
        and source.absent_since_ms is None
        and action.taken_at_ms > source.since_ms
    )
    if source is None or not applies:
        return record
    changed = replace(record, source=replace(source, absent_since_ms=action.taken_at_ms))
    return noted(changed, now_ms, "source_off", f"{action.source_id}, by path list")


def _present(record: StreamRecord, action: NotePresent, now_ms: int) -> StreamRecord:
    report = action.report
    published = PublishedPath(path=f"live/{record.stream_id}/in", source_id=action.source_id)
    current = _is_the_current(record, report, published)
    if current or not _is_news(record, {report.relay_id: report}, report, published):
        return record
    changed = with_source(record, report.relay_id, report.media, action.source_id, report.taken_at_ms)
    return noted(changed, now_ms, "source_on", f"{action.source_id}, by path list")


def _released(
    record: StreamRecord, action: ReleaseExpired, now_ms: int, policy: SupervisionPolicy
) -> StreamRecord:
    lease = record.lease
    same = lease.generation == action.generation and lease.execution == action.execution
    if not same or not expired(lease, now_ms, policy):
        return record
    return release(
        record,
        execution=action.execution,
        outcome=Outcome.CRASHED,
        detail="nobody renewed the lease",
        now_ms=now_ms,
        policy=policy,
    )
