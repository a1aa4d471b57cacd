"""From the end of a worker to the report that the state machine gets."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from livedub.supervision.contract import WorkReport
from media_edge.worker.exit_codes import ExitCode


@dataclass(frozen=True, slots=True)
class DrainOrder:
    """Why a worker was asked to end. `elsewhere`: its stream goes on, on another host or with another worker."""

    reason: str
    elsewhere: bool


def report_exit(code: int, drain: DrainOrder | None) -> WorkReport:
    """The report for a worker that ended with `code`, negative for a signal."""
    if drain is not None:
        # However it ended: it was to end, and what was buffered is a loss that no restart brings back.
        return WorkReport(
            outcome="drained", detail=drain.reason, exit_code=code, host_draining=drain.elsewhere
        )
    if code < 0:
        return WorkReport(outcome="crashed", detail=f"ended by {_signal_name(-code)}", exit_code=code)
    try:
        known = ExitCode(code)
    except ValueError:
        return WorkReport(outcome="crashed", detail="ended with an unknown exit code", exit_code=code)
    detail = known.name.lower()
    if known.outcome == "drained":
        return WorkReport(outcome="crashed", detail=f"{detail}, but nobody had asked for it", exit_code=code)
    if known.outcome == "source_lost":
        return WorkReport(outcome="source_lost", detail=detail, exit_code=code)
    return WorkReport(outcome="crashed", detail=detail, exit_code=code)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
