"""What a hook does to a stream. Hooks are hints: they come at least once, out of order, or never."""

from __future__ import annotations

from dataclasses import dataclass, replace

from livedub.supervision.contract import MediaAddresses, SourceHook
from livedub.supervision.journal import noted
from livedub.supervision.lease import held, unwanted
from livedub.supervision.naming import next_execution_name
from livedub.supervision.paths import parse_path
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import Media, Source, StreamRecord

GONE_SOURCES_KEPT = 16


@dataclass(frozen=True, slots=True)
class HookResult:
    """What shall be written, and whether to start an execution.

    Attributes:
        record: the record as it shall be; None where there is none and none shall be made.
        start: whether an execution shall be started. The lease sees to it that a second one does no harm.
        reason: what was decided, in words: `unknown_stream`, `output_path`, `duplicate`, `already_gone`, `stale`,
            `not_current`, `recorded`, or why nothing is started.
        execution: the name of the execution to start; empty when none shall be.
    """

    record: StreamRecord | None
    start: bool
    reason: str
    execution: str = ""


def published(
    record: StreamRecord | None,
    *,
    stream_id: str,
    hook: SourceHook,
    now_ms: int,
    policy: SupervisionPolicy,
) -> HookResult:
    """A path got its publisher.

    Repeated hooks answer `start` again while nobody owns the stream: the first answer may have been lost before the
    execution began, and the execution's name removes the duplicate.

    Raises:
        InvalidInputError: the path is no stream's.
    """
    if not parse_path(hook.path).is_input:
        return HookResult(record, start=False, reason="output_path")
    if record is None:
        if policy.unknown_streams == "refuse":
            return HookResult(None, start=False, reason="unknown_stream")
        record = new_stream(stream_id, now_ms, policy)
    source = record.source
    occurred_ms = _occurred_ms(hook, now_ms, policy)
    if source is not None and hook.source_id in source.gone_source_ids:
        return HookResult(record, start=False, reason="already_gone")
    if source is not None and source.source_id == hook.source_id and source.absent_since_ms is None:
        return start_where_needed(record, now_ms, policy, otherwise="duplicate")
    if _is_older(record, hook.relay_id, hook.source_id, occurred_ms):
        return HookResult(record, start=False, reason="stale")
    changed = with_source(record, hook.relay_id, hook.media, hook.source_id, occurred_ms)
    changed = noted(changed, now_ms, "source_on", f"{hook.source_type or 'publisher'} {hook.source_id}")
    return start_where_needed(changed, now_ms, policy, otherwise="recorded")


def unpublished(
    record: StreamRecord | None, *, hook: SourceHook, now_ms: int, policy: SupervisionPolicy
) -> HookResult:
    """A path lost its publisher: only noted. The worker ends by itself after its grace time.

    Raises:
        InvalidInputError: the path is no stream's.
    """
    path = parse_path(hook.path)
    if not path.is_input:
        return HookResult(record, start=False, reason="output_path")
    if record is None:
        if policy.unknown_streams == "refuse":
            return HookResult(None, start=False, reason="unknown_stream")
        record = new_stream(path.stream_id, now_ms, policy)
    occurred_ms = _occurred_ms(hook, now_ms, policy)
    source = record.source
    if source is None:
        source = Source(hook.source_id, occurred_ms, occurred_ms, (hook.source_id,))
        return HookResult(replace(record, source=source), start=False, reason="recorded")
    if hook.source_id in source.gone_source_ids:
        return HookResult(record, start=False, reason="duplicate")
    gone = (*source.gone_source_ids, hook.source_id)[-GONE_SOURCES_KEPT:]
    if source.source_id != hook.source_id:
        changed = replace(record, source=replace(source, gone_source_ids=gone))
        return HookResult(changed, start=False, reason="not_current")
    since_ms = occurred_ms if source.absent_since_ms is None else source.absent_since_ms
    changed = replace(record, source=replace(source, absent_since_ms=since_ms, gone_source_ids=gone))
    if source.absent_since_ms is None:
        changed = noted(changed, now_ms, "source_off", hook.source_id)
    return HookResult(changed, start=False, reason="recorded")


def new_stream(stream_id: str, now_ms: int, policy: SupervisionPolicy) -> StreamRecord:
    """A stream nobody has heard of, with the default settings."""
    record = StreamRecord(
        stream_id=stream_id, settings=dict(policy.default_stream_settings), settings_revision=1
    )
    return noted(record, now_ms, "created")


def with_source(
    record: StreamRecord, relay_id: str, media: MediaAddresses, source_id: str, since_ms: int
) -> StreamRecord:
    """The record with `source_id` on the media server beside `relay_id`."""
    gone = record.source.gone_source_ids if record.source else ()
    return replace(
        record,
        media=Media(relay_id, media.play_base_url, media.publish_base_url, media.kick_url),
        source=Source(source_id, since_ms, None, gone),
    )


def start_where_needed(
    record: StreamRecord, now_ms: int, policy: SupervisionPolicy, *, otherwise: str
) -> HookResult:
    """Start an execution where the stream is wanted and nobody owns it."""
    if held(record, now_ms, policy):
        return HookResult(record, start=False, reason=otherwise)
    reason = unwanted(record, now_ms, policy)
    if reason:
        return HookResult(record, start=False, reason=reason)
    return HookResult(record, start=True, reason=otherwise, execution=next_execution_name(record))


def _occurred_ms(hook: SourceHook, now_ms: int, policy: SupervisionPolicy) -> int:
    """The relay's time, which its path lists carry too; never further ahead than clocks may differ."""
    return min(hook.occurred_at_ms, now_ms + policy.clock_skew_ms)


def _is_older(record: StreamRecord, relay_id: str, source_id: str, occurred_ms: int) -> bool:
    """Whether another publisher is known to have come to the same server later."""
    source = record.source
    if source is None or record.media is None or record.media.relay_id != relay_id:
        return False
    return source.source_id != source_id and occurred_ms < source.since_ms
