"""What follows the end of a supervised task: another worker, a successor execution, or the end.

The state machine's own data tells where it was: `AcquireLease` replaces all of it, `claim` appears when a host took
the work, `report` when the worker's agent reported, `error` when the state that waited failed.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import ValidationError

from livedub.supervision.contract import WorkReport
from livedub.supervision.journal import noted
from livedub.supervision.lease import expired, unwanted
from livedub.supervision.naming import successor_name
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import Outcome, Phase, StreamRecord

Action = Literal["restart_now", "restart", "roll_over", "release"]
Stage = Literal["await_host", "supervise", "reported"]

_TIMEOUTS = frozenset({"States.Timeout", "States.HeartbeatTimeout"})
_HANDOVER_MARGIN_MS = 120_000
"""Between the end of a worker and its execution's next step: retried calls of the state machine."""
LATEST_ATTEMPT_MS = 12 * 3_600_000
"""An execution lasts 31 days at most and supervises a worker for 30: one it started later could outlive it. From this
age on a successor makes the next attempt."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the state machine does next.

    Attributes:
        action: `restart_now`, `restart` (after `backoff_s`), `roll_over` (into `successor`) or `release`.
        backoff_s: seconds to wait before a `restart`; else 0.
        outcome: how the worker ended.
        detail: one line for operators.
        successor: name of the execution that takes over on `roll_over`; else empty.
    """

    action: Action
    outcome: Outcome
    detail: str = ""
    backoff_s: int = 0
    successor: str = ""


@dataclass(frozen=True, slots=True)
class _Ending:
    """Why the task is over, before anybody asks what follows.

    Attributes:
        outcome: see Outcome.
        detail: one line.
        restarts: whether another worker shall follow; else the run is over.
        counted: whether what follows goes on the restart budget.
        pauses: whether a restart waits its backoff. Not where time has passed already.
    """

    outcome: Outcome
    detail: str
    restarts: bool
    counted: bool
    pauses: bool = False


def stage_of(state: Mapping[str, Any]) -> Stage:
    """Where the state machine was when it came to be classified."""
    if state.get("report") is not None:
        return "reported"
    if state.get("claim") is not None or state.get("status") == "adopted":
        return "supervise"
    return "await_host"


def classify(
    record: StreamRecord,
    *,
    execution: str,
    state: Mapping[str, Any],
    started_at_ms: int,
    now_ms: int,
    policy: SupervisionPolicy,
) -> tuple[StreamRecord, Verdict]:
    """Decide what follows and count it. Repeating a call gives the same verdict and counts once.

    Args:
        record: the stream as it is.
        execution: name of the execution that asks.
        state: all of the state machine's data (`$`).
        started_at_ms: when the execution started.
        now_ms: the time.
        policy: budget, backoff and bounds.
    """
    lease = record.lease
    if lease.phase is Phase.FREE or lease.execution != execution:
        return record, Verdict("release", Outcome.FENCED, "another execution owns the stream")
    elapsed_ms = now_ms - started_at_ms
    if _only_the_wait_is_over(record, state, elapsed_ms, now_ms, policy):
        detail = "the execution is old; the worker goes on"
        return record, _rolling(record, execution, Outcome.ENDED, detail)
    ending = _ending(state)
    record = _counted(_closed(record, ending, now_ms), ending, now_ms, policy)
    worn_out = _attempt(state) >= policy.max_attempts_per_execution or elapsed_ms >= LATEST_ATTEMPT_MS
    verdict = _verdict(record, ending, execution, now_ms, policy, worn_out=worn_out)
    if verdict.outcome is Outcome.DEGRADED and record.degraded_until_ms is None:
        record = replace(record, degraded_until_ms=now_ms + policy.cool_down_s * 1_000)
        record = noted(record, now_ms, "degraded", verdict.detail)
    wait_ms = verdict.backoff_s * 1_000 + _HANDOVER_MARGIN_MS
    record = replace(record, lease=replace(record.lease, expires_at_ms=now_ms + wait_ms))
    return record, verdict


def release_reason(state: Mapping[str, Any]) -> tuple[Outcome, str]:
    """The outcome that `ReleaseLease` records, from the state machine's data."""
    verdict = _mapping(state.get("verdict"))
    if verdict:
        try:
            return Outcome(str(verdict.get("outcome", ""))), str(verdict.get("detail", ""))
        except ValueError:
            return Outcome.CRASHED, f"unknown outcome {verdict.get('outcome')!r}"
    if state.get("status") == "not_wanted":
        return Outcome.ENDED, "not wanted"
    return Outcome.CRASHED, f"the state machine failed: {_error_text(state) or 'no reason given'}"


def backoff_s(restarts: int, policy: SupervisionPolicy) -> int:
    """The pause before the `restarts`-th restart of a window: none before the first, then doubling."""
    if restarts <= 1:
        return 0
    return min(policy.backoff_first_s * 2 ** min(restarts - 2, 30), policy.backoff_max_s)


def _only_the_wait_is_over(
    record: StreamRecord, state: Mapping[str, Any], elapsed_ms: int, now_ms: int, policy: SupervisionPolicy
) -> bool:
    """Whether the supervising task ran into its own time limit while the worker goes on.

    Both limits may carry one name. A worker that lives has renewed its lease within a third of the TTL.
    """
    lease = record.lease
    timed_out = stage_of(state) == "supervise" and _error_name(state) in _TIMEOUTS
    # The execution's start is told by another clock.
    old = elapsed_ms + policy.clock_skew_ms >= policy.supervise_timeout_s * 1_000
    running = lease.phase is Phase.RUNNING and lease.ended_at_ms is None
    fresh = lease.expires_at_ms - now_ms > policy.lease_ttl_ms // 2 and not expired(lease, now_ms, policy)
    return timed_out and old and running and fresh


def _ending(state: Mapping[str, Any]) -> _Ending:
    stage = stage_of(state)
    if stage == "reported":
        return _reported(state.get("report"))
    timed_out = _error_name(state) in _TIMEOUTS
    if stage == "await_host" and timed_out:
        return _Ending(Outcome.NO_CAPACITY, "no host took the work in time", restarts=True, counted=False)
    if stage == "await_host":
        return _crash(f"work was not queued: {_error_text(state)}")
    if timed_out:
        return _Ending(Outcome.CRASHED, "the worker's heartbeats stopped", restarts=True, counted=True)
    detail = f"supervision was refused: {_error_text(state)}"
    return _Ending(Outcome.FENCED, detail, restarts=True, counted=True)


def _reported(report: object) -> _Ending:
    try:
        work = WorkReport.model_validate(report)
    except ValidationError:
        return _crash("the report cannot be read")
    outcome = Outcome(work.outcome)
    code = "" if work.exit_code is None else f" (exit code {work.exit_code})"
    detail = f"{work.detail}{code}".strip()
    if work.host_draining:
        return _Ending(outcome, detail or "the host is going away", restarts=True, counted=False)
    if outcome is Outcome.CRASHED:
        return _crash(detail or "the worker crashed")
    # A run that ends although its publisher is on and wanted is followed by another: that is counted too, or a worker
    # that cannot play the stream would be started for ever. A drained one was asked for.
    return _Ending(
        outcome, detail, restarts=outcome is Outcome.FENCED, counted=outcome is not Outcome.DRAINED
    )


def _crash(detail: str) -> _Ending:
    return _Ending(Outcome.CRASHED, detail, restarts=True, counted=True, pauses=True)


def _closed(record: StreamRecord, ending: _Ending, now_ms: int) -> StreamRecord:
    """The record with this generation ended, so that nothing acts for it any more."""
    if record.lease.ended_at_ms is not None:
        return record
    # The next free millisecond: clocks differ, so two generations may seem to end in the same one.
    ended_at_ms = next(at_ms for at_ms in itertools.count(now_ms) if at_ms not in record.restarts_ms)
    lease = replace(record.lease, ended_at_ms=ended_at_ms, agent_id="", task_token="", publish_token_hash="")
    detail = f"{ending.outcome.value}: {ending.detail}" if ending.detail else ending.outcome.value
    return noted(replace(record, lease=lease), now_ms, "worker_over", detail)


def _counted(record: StreamRecord, ending: _Ending, now_ms: int, policy: SupervisionPolicy) -> StreamRecord:
    """The record with this ending on the restart budget, where another worker follows it.

    The time of the ending is what is counted, so a repeated call counts once, even one that now decides otherwise
    because a publisher has come meanwhile.
    """
    ended_at_ms = record.lease.ended_at_ms
    goes_on = not unwanted(record, now_ms, policy) and (ending.restarts or record.source_present)
    if not ending.counted or not goes_on or ended_at_ms is None or ended_at_ms in record.restarts_ms:
        return record
    window_from_ms = now_ms - policy.restart_window_s * 1_000
    recent = tuple(at_ms for at_ms in record.restarts_ms if at_ms > window_from_ms)
    # One more than the budget says "spent"; what lies beyond tells nothing new.
    return replace(record, restarts_ms=(*recent, ended_at_ms)[-(policy.restart_budget + 1) :])


def _verdict(
    record: StreamRecord,
    ending: _Ending,
    execution: str,
    now_ms: int,
    policy: SupervisionPolicy,
    *,
    worn_out: bool,
) -> Verdict:
    if record.degraded_until_ms is not None or (
        ending.counted and len(record.restarts_ms) > policy.restart_budget
    ):
        return Verdict("release", Outcome.DEGRADED, f"restart budget spent; last: {ending.detail}")
    if not ending.restarts:
        return Verdict("release", ending.outcome, ending.detail)
    reason = unwanted(record, now_ms, policy)
    if reason:
        return Verdict("release", ending.outcome, f"{ending.detail}; {reason}" if ending.detail else reason)
    if worn_out:
        return _rolling(record, execution, ending.outcome, ending.detail)
    pause_s = backoff_s(len(record.restarts_ms), policy) if ending.pauses else 0
    if pause_s == 0:
        return Verdict("restart_now", ending.outcome, ending.detail)
    return Verdict("restart", ending.outcome, ending.detail, backoff_s=pause_s)


def _rolling(record: StreamRecord, execution: str, outcome: Outcome, detail: str) -> Verdict:
    return Verdict("roll_over", outcome, detail, successor=successor_name(record.stream_id, execution))


def _attempt(state: Mapping[str, Any]) -> int:
    attempt = state.get("attempt", 0)
    return attempt if isinstance(attempt, int) else 0


def _error_name(state: Mapping[str, Any]) -> str:
    return str(_mapping(state.get("error")).get("Error", ""))


def _error_text(state: Mapping[str, Any]) -> str:
    error = _mapping(state.get("error"))
    return f"{error.get('Error', '')} {error.get('Cause', '')}".strip()[:500]


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}  # pyright: ignore[reportUnknownVariableType]
