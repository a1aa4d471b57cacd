"""What relays ask for: hooks, admission, and the comparison of what is published with who owns it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from livedub.errors import InvalidInputError, LivedubError
from livedub.supervision import reconcile
from livedub.supervision.authorize import authorize
from livedub.supervision.contract import MediaAuthorization, MediaPermit, PathReport, SourceHook, Wire
from livedub.supervision.execution_starts import ExecutionStarts
from livedub.supervision.hooks import HookResult, new_stream, published, unpublished
from livedub.supervision.lease import startable
from livedub.supervision.paths import parse_path
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import StreamRecord
from livedub.supervision.refusals import RequestRefusedError
from livedub.supervision.stream_store_port import StreamStore

_log = logging.getLogger(__name__)


class HookAnswer(Wire):
    """The answer to a hook. `started`: an execution was started, or was already for this very hook."""

    stream_id: str
    started: bool
    reason: str
    generation: int


class ReconcileAnswer(Wire):
    """What reconcile did; `failed` are streams left for the next time."""

    streams: int
    noted: int
    released: int
    started: int
    failed: int


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What reconcile did, and the streams as it left them."""

    answer: ReconcileAnswer
    records: Sequence[StreamRecord]


def take_published(
    hook: SourceHook,
    *,
    streams: StreamStore,
    starts: ExecutionStarts,
    now_ms: int,
    policy: SupervisionPolicy,
) -> HookAnswer:
    """Note the publisher, then start an execution where nobody owns the stream.

    Should the start fail, the row knows the publisher already: the repeated hook or reconcile starts it.

    Raises:
        InvalidInputError: the path is no stream's.
        RequestRefusedError: UNKNOWN_STREAM.
        StoreBusyError, StoreUnavailableError: try again.
    """
    path = parse_path(hook.path)
    results: list[HookResult] = []

    def rule(record: StreamRecord | None) -> StreamRecord | None:
        result = published(record, stream_id=path.stream_id, hook=hook, now_ms=now_ms, policy=policy)
        results.append(result)
        return result.record

    record = streams.update(path.stream_id, rule)
    result = results[-1]
    if record is None:
        return _without_record(result, path.stream_id)
    if result.start:
        starts.start(record, result.execution)
    return _hook_answer(result, record)


def take_unpublished(
    hook: SourceHook, *, streams: StreamStore, now_ms: int, policy: SupervisionPolicy
) -> HookAnswer:
    """Note that the publisher has gone. The worker sees that for itself and ends after its grace time.

    Raises:
        InvalidInputError: the path is no stream's.
        RequestRefusedError: UNKNOWN_STREAM.
        StoreBusyError, StoreUnavailableError: try again.
    """
    path = parse_path(hook.path)
    results: list[HookResult] = []

    def rule(record: StreamRecord | None) -> StreamRecord | None:
        result = unpublished(record, hook=hook, now_ms=now_ms, policy=policy)
        results.append(result)
        return result.record

    record = streams.update(path.stream_id, rule)
    return _hook_answer(results[-1], record) if record else _without_record(results[-1], path.stream_id)


def admit(
    request: MediaAuthorization, *, streams: StreamStore, now_ms: int, policy: SupervisionPolicy
) -> MediaPermit:
    """Decide whether a connection may publish or play.

    Raises:
        AuthorizationError: it may not.
        StoreUnavailableError: nobody knows; refuse.
    """
    try:
        record = streams.load(parse_path(request.path).stream_id)
    except InvalidInputError:
        record = None
    return authorize(record, request, now_ms=now_ms, policy=policy)


def reconcile_streams(
    reports: Sequence[PathReport],
    *,
    streams: StreamStore,
    starts: ExecutionStarts,
    now_ms: int,
    policy: SupervisionPolicy,
) -> Reconciled:
    """Compare path lists with all streams and repair the difference. One stream's trouble does not stop the others.

    Raises:
        StoreUnavailableError: the streams cannot be listed.
    """
    records = {record.stream_id: record for record in streams.list_all()}
    known = len(records)
    if policy.unknown_streams == "accept":
        # As a hook would: whose very first hook is lost must not wait for a second one.
        newcomers = reconcile.published_streams(reports, now_ms, policy) - records.keys()
        records |= {stream_id: new_stream(stream_id, now_ms, policy) for stream_id in newcomers}
    done = {"noted": 0, "released": 0, "started": 0}
    failed: set[str] = set()
    for action in reconcile.plan(list(records.values()), reports, now_ms, policy):
        if action.stream_id in failed:
            continue
        try:
            kind = _carry_out(action, records, streams, starts, now_ms, policy)
        except LivedubError as error:
            failed.add(action.stream_id)
            _log.error("Stream %s could not be repaired: %s", action.stream_id, error)
            continue
        if kind:
            done[kind] += 1
            _log.warning("Repaired stream %s (%s): %s", action.stream_id, kind, action.reason)
    answer = ReconcileAnswer(streams=known, failed=len(failed), **done)
    return Reconciled(answer, list(records.values()))


def _carry_out(
    action: reconcile.Action,
    records: dict[str, StreamRecord],
    streams: StreamStore,
    starts: ExecutionStarts,
    now_ms: int,
    policy: SupervisionPolicy,
) -> str:
    """What was done: `noted`, `released`, `started`, or empty where it no longer applied. Keeps `records` up to date."""
    before = records[action.stream_id]
    if isinstance(action, reconcile.Start):
        if not startable(before, now_ms, policy):
            return ""
        # By the name a hook would give it: where the hook was not lost but is only being served, that is one start.
        starts.start(before)
        return "started"

    def rule(record: StreamRecord | None) -> StreamRecord | None:
        if record is None and not isinstance(action, reconcile.NotePresent):
            return None
        return reconcile.apply(record or before, action, now_ms=now_ms, policy=policy)

    after = streams.update(action.stream_id, rule)
    if after is None:
        return ""
    records[action.stream_id] = after
    if after.row_version == before.row_version:
        return ""
    return "released" if isinstance(action, reconcile.ReleaseExpired) else "noted"


def _hook_answer(result: HookResult, record: StreamRecord) -> HookAnswer:
    return HookAnswer(
        stream_id=record.stream_id,
        started=result.start,
        reason=result.reason,
        generation=record.lease.generation,
    )


def _without_record(result: HookResult, stream_id: str) -> HookAnswer:
    """The answer where no row is kept.

    Raises:
        RequestRefusedError: UNKNOWN_STREAM.
    """
    if result.reason == "unknown_stream":
        raise unknown_stream(stream_id)
    return HookAnswer(stream_id=stream_id, started=False, reason=result.reason, generation=0)


def unknown_stream(stream_id: str) -> RequestRefusedError:
    """UNKNOWN_STREAM."""
    return RequestRefusedError(
        "UNKNOWN_STREAM",
        404,
        f"Nobody created the stream {stream_id}.",
        remedy="Create it first: livedub streams create.",
    )
