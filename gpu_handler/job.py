"""One request on its way through the stages: whose it is, until when it is wanted, where its time went."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from gpu_handler.stage_errors import StageError
from livedub.sts.contract import ErrorCode, Stage, StageTimings, StsRequest

_NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000


@dataclass(slots=True, eq=False)
class Job:
    """One request; `received_s` is when it came (`time.monotonic`)."""

    request: StsRequest
    received_s: float
    spent_ms: dict[str, float] = field(default_factory=dict)

    @property
    def stream(self) -> tuple[str, int]:
        """Stream and generation: what belongs together and has an order."""
        return self.request.stream_id, self.request.generation

    @property
    def deadline_ns(self) -> int:
        """When nobody needs the answer any more, on `time.monotonic_ns`'s clock."""
        return round(self.received_s * _NS_PER_S) + self.request.deadline_ms * _NS_PER_MS

    def check_deadline(self, stage: Stage) -> None:
        """Raise what `late` returns if the deadline has passed."""
        if time.monotonic_ns() > self.deadline_ns:
            raise self.late(stage)

    def late(self, stage: Stage) -> StageError:
        """TIMEOUT in `stage`, because the deadline has passed or cannot be met any more."""
        left_ms = (self.deadline_ns - time.monotonic_ns()) / _NS_PER_MS
        given = f"deadline_ms ({self.request.deadline_ms})"
        if left_ms < 0:
            message = f"{given} passed {-left_ms:.0f} ms before stage {stage.value}."
        else:
            message = f"{given} leaves {left_ms:.0f} ms, less than stage {stage.value} and what follows take."
        return StageError(stage, ErrorCode.TIMEOUT, message, retryable=True)

    def spend(self, name: str, seconds: float) -> None:
        """Book time on one of the `StageTimings`."""
        self.spent_ms[name] = self.spent_ms.get(name, 0.0) + seconds * 1000

    @property
    def timings(self) -> StageTimings:
        """Where the time went so far."""
        return StageTimings(**{name: round(spent, 3) for name, spent in self.spent_ms.items()})
