"""One stream in a few words: what `livedub streams list` shows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field

from livedub.supervision.contract import Wire
from livedub.supervision.lease import expired, unwanted
from livedub.supervision.paths import StreamPath
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import Desired, Phase, StreamRecord
from livedub.supervision.stream_settings import output_names

State = Literal[
    "idle",
    "starting",
    "waiting_for_capacity",
    "running",
    "source_absent",
    "restarting",
    "draining",
    "stopped",
    "degraded",
    "unattended",
]


class StreamOverview(Wire):
    """What an operator wants to know of a stream first. Times are Unix milliseconds."""

    stream_id: str
    state: State
    why: str
    """One line; empty when there is nothing to say."""
    since_ms: int | None
    generation: int
    agent_id: str
    source_id: str
    """The publisher of the original that is on; empty when none is."""
    restarts: int
    """What counts against the restart budget at the moment."""
    last_outcome: str
    last_detail: str
    outputs: list[str] = Field(default_factory=list)
    """Paths that its settings publish the dub on: the first language's, then one for each other."""


class StreamList(Wire):
    """`GET /v1/streams`: every stream, by id."""

    streams: list[StreamOverview]


class StreamDetail(Wire):
    """`/v1/streams/{stream_id}` and every change of it. `stream_key` is answered once, by what creates the stream."""

    stream: StreamOverview
    desired: str
    settings: dict[str, Any]
    settings_revision: int
    stream_key: Annotated[str, Field(repr=False)] = ""


class StreamEvent(Wire):
    """One entry of a stream's journal."""

    at_ms: int
    event: str
    generation: int
    detail: str


class StreamEvents(Wire):
    """`GET /v1/streams/{stream_id}/events`: what happened lately, oldest first."""

    events: list[StreamEvent]


def overview(record: StreamRecord, now_ms: int, policy: SupervisionPolicy) -> StreamOverview:
    """The stream as an operator sees it at `now_ms`."""
    state, why, since_ms = _state(record, now_ms, policy)
    return StreamOverview(
        stream_id=record.stream_id,
        state=state,
        why=why,
        since_ms=since_ms,
        generation=record.lease.generation,
        agent_id=record.lease.agent_id,
        source_id=record.source.source_id if record.source and record.source_present else "",
        restarts=sum(at_ms > now_ms - policy.restart_window_s * 1_000 for at_ms in record.restarts_ms),
        last_outcome=record.last_outcome.value if record.last_outcome else "",
        last_detail=record.last_detail,
        outputs=[str(StreamPath(record.stream_id, name)) for name in output_names(record.settings)],
    )


def stream_list(records: Iterable[StreamRecord], now_ms: int, policy: SupervisionPolicy) -> StreamList:
    """All streams in short, by id."""
    ordered = sorted(records, key=lambda record: record.stream_id)
    return StreamList(streams=[overview(record, now_ms, policy) for record in ordered])


def stream_detail(
    record: StreamRecord, now_ms: int, policy: SupervisionPolicy, *, stream_key: str = ""
) -> StreamDetail:
    """One stream with its settings; `stream_key` only where it was just made."""
    return StreamDetail(
        stream=overview(record, now_ms, policy),
        desired=record.desired.value,
        settings=dict(record.settings),
        settings_revision=record.settings_revision,
        stream_key=stream_key,
    )


def stream_events(record: StreamRecord) -> StreamEvents:
    """What happened to a stream."""
    entries = [
        StreamEvent(at_ms=entry.at_ms, event=entry.event, generation=entry.generation, detail=entry.detail)
        for entry in record.journal
    ]
    return StreamEvents(events=entries)


def _state(record: StreamRecord, now_ms: int, policy: SupervisionPolicy) -> tuple[State, str, int | None]:
    if record.lease.phase is Phase.FREE:
        return _free(record, now_ms, policy)
    return _owned(record, now_ms, policy)


def _free(record: StreamRecord, now_ms: int, policy: SupervisionPolicy) -> tuple[State, str, int | None]:
    last_ms = record.journal[-1].at_ms if record.journal else None
    if record.desired is Desired.STOPPED:
        return "stopped", "stopped by an operator; start it again with `livedub streams start`", last_ms
    if record.degraded_until_ms is not None and now_ms < record.degraded_until_ms:
        left_s = -(-(record.degraded_until_ms - now_ms) // 1_000)
        why = f"restart budget spent ({record.last_detail or 'no detail'}); tried again in {left_s} s"
        return "degraded", why, last_ms
    reason = unwanted(record, now_ms, policy)
    if reason or not record.source_present:
        absent_ms = record.source.absent_since_ms if record.source else None
        return "idle", reason or "the publisher is gone", absent_ms
    since_ms = record.source.since_ms if record.source else None
    return "starting", "a publisher is on; waiting for its execution", since_ms


def _owned(record: StreamRecord, now_ms: int, policy: SupervisionPolicy) -> tuple[State, str, int | None]:
    lease = record.lease
    if expired(lease, now_ms, policy):
        return "unattended", "nobody renews the lease; reconcile starts it anew", lease.expires_at_ms
    if record.desired is not Desired.RUNNING:
        return "draining", f"{record.desired.value} by an operator; the run is ending", lease.acquired_at_ms
    if lease.ended_at_ms is not None:
        return "restarting", "the last worker is over; the next one follows", lease.ended_at_ms
    return _acting(record)


def _acting(record: StreamRecord) -> tuple[State, str, int | None]:
    lease = record.lease
    if lease.phase is Phase.WAITING_CAPACITY:
        return "waiting_for_capacity", "no host has a free slot yet", lease.acquired_at_ms
    if lease.phase is Phase.CLAIMED:
        return "starting", f"agent {lease.agent_id} is starting the worker", lease.claimed_at_ms
    if not record.source_present:
        absent_ms = record.source.absent_since_ms if record.source else None
        return "source_absent", "the publisher is gone; the worker waits for it to return", absent_ms
    return "running", f"on agent {lease.agent_id}", lease.claimed_at_ms
