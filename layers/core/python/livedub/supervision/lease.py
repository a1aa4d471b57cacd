"""Who owns a stream. Pure rules: a record and a time in, another record out; a store makes them atomic.

The generation is what fences: it grows with every new worker, never shrinks, and everything that acts on the stream
names the one it acts for. Inside one execution the next generation is taken at once, because the execution itself has
seen the last worker end or fall silent; another execution waits until the lease has expired for everybody's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from livedub.errors import LivedubError
from livedub.supervision.journal import noted
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import Desired, Lease, Outcome, Phase, StreamRecord

Refusal = Literal["held", "not_wanted", "fenced", "unknown"]

_QUEUE_MARGIN_MS = 120_000
"""Beyond the wait itself: retried calls of the state machine around it. Nobody renews meanwhile."""


class LeaseRefusedError(LivedubError):
    """The lease does not allow it; `reason` says why: another holds it, nobody wants the stream, or a newer one took over."""

    def __init__(self, reason: Refusal, message: str, *, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.reason: Refusal = reason


def expired(lease: Lease, now_ms: int, policy: SupervisionPolicy) -> bool:
    """Whether the lease is over for any clock within the allowed skew. A free lease counts as expired."""
    return lease.phase is Phase.FREE or now_ms > lease.expires_at_ms + policy.clock_skew_ms


def held(record: StreamRecord, now_ms: int, policy: SupervisionPolicy) -> bool:
    """Whether some execution owns the stream."""
    return not expired(record.lease, now_ms, policy)


def unwanted(record: StreamRecord, now_ms: int, policy: SupervisionPolicy) -> str:
    """Why the stream shall have no worker now, for operators; empty when it shall have one."""
    if record.desired is Desired.STOPPED:
        return "stopped by an operator"
    source = record.source
    if record.desired is Desired.DRAINED and (source is None or source.source_id == record.drained_source_id):
        return "drained by an operator; the next publisher starts it"
    if record.degraded_until_ms is not None and now_ms < record.degraded_until_ms:
        return "resting: the restart budget is spent"
    if source is None:
        return "no publisher yet"
    if source.absent_since_ms is not None and now_ms > source.absent_since_ms + policy.grace_s * 1_000:
        return "the publisher is gone"
    return ""


def startable(record: StreamRecord, now_ms: int, policy: SupervisionPolicy) -> bool:
    """Whether an execution shall be started: a publisher is on, the stream is wanted, and nobody owns it."""
    return record.source_present and not unwanted(record, now_ms, policy) and not held(record, now_ms, policy)


def acquire(
    record: StreamRecord, *, execution: str, adopt_from: str, now_ms: int, policy: SupervisionPolicy
) -> tuple[StreamRecord, Literal["acquired", "adopted"]]:
    """Give the stream to `execution`: a new generation, or as successor of `adopt_from` the running one.

    Repeating a call is safe: an adoption answers the same again, an acquisition takes one generation more.

    Raises:
        LeaseRefusedError: `held` by another execution, or `not_wanted`.
    """
    lease = record.lease
    ours = lease.phase is not Phase.FREE and lease.execution in {execution, adopt_from or execution}
    if not ours and held(record, now_ms, policy):
        raise LeaseRefusedError(
            "held",
            f"{record.stream_id} belongs to execution {lease.execution}, generation {lease.generation}.",
        )
    alive = lease.phase in {Phase.CLAIMED, Phase.RUNNING} and lease.ended_at_ms is None
    if ours and adopt_from and alive:
        return _adopted(record, execution, now_ms), "adopted"
    reason = unwanted(record, now_ms, policy)
    if reason:
        raise LeaseRefusedError("not_wanted", f"{record.stream_id} wants no worker: {reason}.")
    return _acquired(record, execution, now_ms, policy), "acquired"


def claim(
    record: StreamRecord, *, generation: int, agent_id: str, now_ms: int, policy: SupervisionPolicy
) -> StreamRecord:
    """An agent takes the work of `generation`; repeating it is safe.

    Raises:
        LeaseRefusedError: `fenced`: the generation is over, or another agent has it.
    """
    lease = record.lease
    _fence(record, generation)
    if lease.phase is Phase.CLAIMED and lease.agent_id == agent_id:
        return record
    if lease.phase is not Phase.WAITING_CAPACITY:
        raise _fenced(record, f"it is {lease.phase.value} by agent {lease.agent_id or 'none'}")
    # Twice, because the task token must first arrive in the row; the state machine's own clock is shorter.
    claimed = replace(
        lease,
        phase=Phase.CLAIMED,
        agent_id=agent_id,
        claimed_at_ms=now_ms,
        expires_at_ms=now_ms + 2 * policy.lease_ttl_ms,
    )
    return noted(replace(record, lease=claimed), now_ms, "claimed", f"by agent {agent_id}")


def bind(
    record: StreamRecord,
    *,
    generation: int,
    agent_id: str,
    publish_token_hash: str,
    now_ms: int,
    policy: SupervisionPolicy,
) -> StreamRecord:
    """The agent that claimed the work starts its worker: from now on its token may publish `out`.

    Repeating it with the same token is safe. A second token for one generation is refused: two workers would hold it.

    Raises:
        LeaseRefusedError: `fenced`: the generation is over, or the work is not this agent's to start.
    """
    lease = record.lease
    _fence(record, generation, agent_id)
    repeated = lease.phase is Phase.RUNNING and lease.publish_token_hash == publish_token_hash
    if lease.phase is not Phase.CLAIMED and not repeated:
        raise _fenced(record, f"its phase is {lease.phase.value}")
    bound = replace(
        lease,
        phase=Phase.RUNNING,
        publish_token_hash=publish_token_hash,
        expires_at_ms=now_ms + policy.lease_ttl_ms,
    )
    changed = replace(record, lease=bound)
    return changed if repeated else noted(changed, now_ms, "running", f"on agent {agent_id}")


def renew(
    record: StreamRecord,
    *,
    generation: int,
    agent_id: str,
    now_ms: int,
    policy: SupervisionPolicy,
    timeline: Mapping[str, int] | None = None,
) -> StreamRecord:
    """The worker made progress: extend its lease, and keep its timeline where one is given.

    Raises:
        LeaseRefusedError: `fenced`: stop the worker at once.
    """
    lease = record.lease
    _fence(record, generation, agent_id)
    if lease.phase is not Phase.RUNNING:
        raise _fenced(record, f"its phase is {lease.phase.value}")
    # Never backwards: a renewal that was delayed must not shorten what a later one gave.
    expires_at_ms = max(lease.expires_at_ms, now_ms + policy.lease_ttl_ms)
    kept = record.timeline if timeline is None else dict(timeline)
    return replace(record, lease=replace(lease, expires_at_ms=expires_at_ms), timeline=kept)


def release(
    record: StreamRecord,
    *,
    execution: str,
    outcome: Outcome,
    detail: str,
    now_ms: int,
    policy: SupervisionPolicy,  # noqa: ARG001 - every rule of the lease is called alike
) -> StreamRecord:
    """Free the stream; the generation stays. Unchanged when `execution` does not own it.

    A stream whose budget was spent rests since `classify`; if an operator has started it since then, it rests no more.
    """
    lease = record.lease
    if lease.phase is Phase.FREE or lease.execution != execution:
        return record
    freed = replace(
        record, lease=Lease(generation=lease.generation), last_outcome=outcome, last_detail=detail
    )
    return noted(freed, now_ms, "released", f"{outcome.value}: {detail}" if detail else outcome.value)


def _acquired(record: StreamRecord, execution: str, now_ms: int, policy: SupervisionPolicy) -> StreamRecord:
    waits_until_ms = now_ms + policy.capacity_timeout_s * 1_000 + _QUEUE_MARGIN_MS
    lease = Lease(
        generation=record.lease.generation + 1,
        phase=Phase.WAITING_CAPACITY,
        execution=execution,
        expires_at_ms=waits_until_ms,
        acquired_at_ms=now_ms,
    )
    changed = replace(record, lease=lease)
    if record.desired is Desired.DRAINED:
        changed = replace(changed, desired=Desired.RUNNING, drained_source_id="")
    if record.degraded_until_ms is not None:
        changed = replace(changed, degraded_until_ms=None, restarts_ms=())
    return noted(changed, now_ms, "acquired", f"by execution {execution}")


def _adopted(record: StreamRecord, execution: str, now_ms: int) -> StreamRecord:
    if record.lease.execution == execution:
        return record
    changed = replace(record, lease=replace(record.lease, execution=execution, task_token=""))
    return noted(changed, now_ms, "rolled_over", f"from {record.lease.execution} to {execution}")


def _fence(record: StreamRecord, generation: int, agent_id: str | None = None) -> None:
    lease = record.lease
    if lease.phase is Phase.FREE or lease.generation != generation:
        raise _fenced(record, f"generation {generation} is over")
    if lease.ended_at_ms is not None:
        raise _fenced(record, f"the worker of generation {generation} was found to be over")
    if agent_id is not None and lease.agent_id != agent_id:
        raise _fenced(record, f"agent {agent_id} does not hold generation {generation}")


def _fenced(record: StreamRecord, why: str) -> LeaseRefusedError:
    return LeaseRefusedError(
        "fenced",
        f"{record.stream_id} is at generation {record.lease.generation}: {why}.",
        remedy="Stop the worker; another one serves the stream or will.",
    )
