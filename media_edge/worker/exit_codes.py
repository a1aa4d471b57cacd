"""How a worker process ends. Supervisors decide on these, never on log lines."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of `media_edge.worker run`.

    0 is a planned end; 2 will not heal by itself; 3 to 7 may heal with a restart.
    """

    DRAINED = 0
    """SIGTERM or SIGINT: input was let go, everything buffered was played out."""
    CONFIGURATION = 2
    """A setting is missing or wrong, or a program or model is not installed; nothing was started."""
    NO_INPUT = 3
    """No publisher came within WORKER_NO_INPUT_TIMEOUT_MS."""
    SOURCE_LOST = 4
    """The publisher left and did not return within WORKER_GRACE_MS; everything buffered was played out."""
    EGRESS_FAILED = 5
    """The output could not be published for WORKER_EGRESS_TIMEOUT_MS."""
    WEDGED = 6
    """Output time stood still although the worker was alive; the watchdog ended it."""
    CRASHED = 7
    """An unexpected error; the log holds the traceback."""
    KILLED = 8
    """A second SIGTERM or SIGINT cut the drain short."""

    @property
    def outcome(self) -> str:
        """The terminal outcome a supervisor records."""
        return _OUTCOMES[self]


_OUTCOMES = {
    ExitCode.DRAINED: "drained",
    ExitCode.CONFIGURATION: "crashed",
    ExitCode.NO_INPUT: "source_lost",
    ExitCode.SOURCE_LOST: "source_lost",
    ExitCode.EGRESS_FAILED: "crashed",
    ExitCode.WEDGED: "crashed",
    ExitCode.CRASHED: "crashed",
    ExitCode.KILLED: "drained",
}
