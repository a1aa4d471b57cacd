"""The steps of the state machine stream_supervisor that touch a stream's lease, with its payloads."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from livedub.supervision.contract import WorkItem
from livedub.supervision.execution_starts import ExecutionStarts
from livedub.supervision.lease import LeaseRefusedError, acquire, release
from livedub.supervision.outcomes import Verdict, classify, release_reason
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import Outcome, StreamRecord
from livedub.supervision.stream_store_port import StreamStore

_NAME = r"^[A-Za-z0-9_-]{1,80}$"


class _Payload(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    stream_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    execution: Annotated[str, Field(pattern=_NAME)]


class AcquirePayload(_Payload):
    """What `AcquireLease` sends."""

    adopt_from: Annotated[str, Field(pattern=rf"^$|{_NAME}")] = ""
    attempt: Annotated[int, Field(ge=0)] = 0


class ClassifyPayload(_Payload):
    """What `ClassifyOutcome` sends: `state` is all of the state machine's data."""

    started_at: datetime
    state: dict[str, Any]


class ReleasePayload(_Payload):
    """What `ReleaseLease` sends."""

    state: dict[str, Any]


class ExecutionOver(BaseModel):
    """The detail of the event `Step Functions Execution Status Change`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: Annotated[str, Field(pattern=_NAME)]
    status: str
    input: str | None = None


def acquire_lease(
    payload: AcquirePayload, *, streams: StreamStore, now_ms: int, policy: SupervisionPolicy
) -> dict[str, Any]:
    """Take the next generation, or adopt the running one; the answer is the state machine's next data.

    Raises:
        StoreBusyError, StoreUnavailableError: the state machine tries again.
    """
    statuses: list[str] = []

    def rule(record: StreamRecord | None) -> StreamRecord | None:
        if record is None:
            statuses.append("not_wanted")
            return None
        try:
            changed, status = acquire(
                record,
                execution=payload.execution,
                adopt_from=payload.adopt_from,
                now_ms=now_ms,
                policy=policy,
            )
        except LeaseRefusedError as refused:
            statuses.append("held" if refused.reason == "held" else "not_wanted")
            return None
        statuses.append(status)
        return changed

    record = streams.update(payload.stream_id, rule)
    answer: dict[str, Any] = {
        "status": statuses[-1],
        "stream_id": payload.stream_id,
        "adopt_from": "",
        "attempt": payload.attempt + 1,
    }
    if record is None or statuses[-1] in {"held", "not_wanted"}:
        return answer
    generation = record.lease.generation
    work = WorkItem(
        stream_id=payload.stream_id,
        generation=generation,
        execution=payload.execution,
        heartbeat_s=policy.heartbeat_s,
    )
    limits = {
        "heartbeat_s": policy.heartbeat_s,
        "capacity_timeout_s": policy.capacity_timeout_s,
        "supervise_timeout_s": policy.supervise_timeout_s,
    }
    return {**answer, "generation": generation, "work": work.model_dump(), "limits": limits}


def classify_outcome(
    payload: ClassifyPayload, *, streams: StreamStore, now_ms: int, policy: SupervisionPolicy
) -> dict[str, Any]:
    """Decide what follows the end of a worker; the answer is the state machine's `verdict`.

    Raises:
        StoreBusyError, StoreUnavailableError: the state machine tries again.
    """
    verdicts: list[Verdict] = []

    def rule(record: StreamRecord | None) -> StreamRecord | None:
        if record is None:
            verdicts.append(Verdict("release", Outcome.FENCED, "the stream's row is gone"))
            return None
        changed, verdict = classify(
            record,
            execution=payload.execution,
            state=payload.state,
            started_at_ms=int(payload.started_at.timestamp() * 1_000),
            now_ms=now_ms,
            policy=policy,
        )
        verdicts.append(verdict)
        return changed

    record = streams.update(payload.stream_id, rule)
    verdict = verdicts[-1]
    return {
        "action": verdict.action,
        "backoff_s": verdict.backoff_s,
        "outcome": verdict.outcome.value,
        "detail": verdict.detail,
        "successor": verdict.successor,
        "generation": record.lease.generation if record else 0,
    }


def release_lease(
    payload: ReleasePayload,
    *,
    streams: StreamStore,
    starts: ExecutionStarts,
    now_ms: int,
    policy: SupervisionPolicy,
) -> dict[str, Any]:
    """Free the lease if this execution holds it, and start anew where a publisher is on and the stream wanted.

    Raises:
        StoreBusyError, StoreUnavailableError: the state machine tries again.
    """
    outcome, detail = release_reason(payload.state)
    restarted = _release(
        payload.stream_id, payload.execution, (outcome, detail), streams, starts, now_ms, policy
    )
    return {"stream_id": payload.stream_id, "outcome": outcome.value, "restarted": restarted}


def release_after_execution(
    over: ExecutionOver,
    *,
    streams: StreamStore,
    starts: ExecutionStarts,
    now_ms: int,
    policy: SupervisionPolicy,
) -> dict[str, Any]:
    """Free what an execution still holds that was aborted, timed out or failed, and start anew where needed.

    Raises:
        StoreBusyError, StoreUnavailableError: EventBridge delivers the event again.
    """
    stream_id = _stream_of(over)
    if not stream_id:
        return {"stream_id": "", "outcome": Outcome.CRASHED.value, "restarted": False}
    detail = f"its execution ended {over.status}"
    restarted = _release(stream_id, over.name, (Outcome.CRASHED, detail), streams, starts, now_ms, policy)
    return {"stream_id": stream_id, "outcome": Outcome.CRASHED.value, "restarted": restarted}


def _release(
    stream_id: str,
    execution: str,
    ending: tuple[Outcome, str],
    streams: StreamStore,
    starts: ExecutionStarts,
    now_ms: int,
    policy: SupervisionPolicy,
) -> bool:
    """Release, and start anew where needed; whether that was so.

    The start does not depend on this very call's having released: an earlier try may have, and then failed to start.
    """
    outcome, detail = ending

    def rule(record: StreamRecord | None) -> StreamRecord | None:
        if record is None:
            return None
        return release(
            record, execution=execution, outcome=outcome, detail=detail, now_ms=now_ms, policy=policy
        )

    record = streams.update(stream_id, rule)
    return record is not None and starts.start_where_needed(record)


def _stream_of(over: ExecutionOver) -> str:
    """The stream in an execution's input; empty where the event lacks it: its lease then just expires."""
    try:
        given: Any = json.loads(over.input or "")
        return str(given["stream_id"])
    except (ValueError, KeyError, TypeError):
        return ""
