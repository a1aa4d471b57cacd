"""A job of an endpoint, and how clients see it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from livedub.errors import LivedubError
from local.runpod.bell import Bell

Json = dict[str, Any]


class JobStatus(str, Enum):
    """RunPod's own names."""

    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"

    @property
    def final(self) -> bool:
        """Whether nothing changes it any more but a retry."""
        return self not in {JobStatus.IN_QUEUE, JobStatus.IN_PROGRESS}


class UnknownJobError(LivedubError):
    """There is no such job, or it is forgotten by now."""


class QueueFullError(LivedubError):
    """The endpoint takes no more jobs now."""


class NotRetryableError(LivedubError):
    """Only a job that failed or timed out can be retried."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How long a job may run, and how long it may exist."""

    execution_timeout_s: float
    ttl_s: float


@dataclass(eq=False, slots=True)
class Job:
    """One job; times are the endpoint's clock in seconds.

    `chunks` are streamed elements that no client has read yet. `bell` rings at every change.
    """

    job_id: str
    input: Any = field(repr=False)
    input_bytes: int
    policy: Policy
    kept_s: float
    submitted_s: float
    status: JobStatus = JobStatus.IN_QUEUE
    worker_id: str = ""
    taken_s: float | None = None
    finished_s: float | None = None
    retries: int = 0
    output: Any = field(default=None, repr=False)
    output_bytes: int = 0
    error: str = ""
    chunks: deque[Json] = field(default_factory=deque[Json], repr=False)
    chunk_bytes: int = 0
    bell: Bell = field(default_factory=Bell, repr=False)

    @property
    def held_bytes(self) -> int:
        """What it occupies."""
        return self.input_bytes + self.output_bytes + self.chunk_bytes

    @property
    def due_s(self) -> float:
        """When something happens to it by itself: its end by a time limit, or its result's end."""
        if self.finished_s is not None:
            return self.finished_s + self.kept_s
        expiry_s = self.submitted_s + self.policy.ttl_s
        if self.taken_s is None:
            return expiry_s
        return min(expiry_s, self.taken_s + self.policy.execution_timeout_s)

    def view(self) -> Json:
        """What /status answers."""
        seen: Json = {"id": self.job_id, "status": self.status.value}
        if self.taken_s is not None:
            seen["delayTime"] = round((self.taken_s - self.submitted_s) * 1000)
            seen["workerId"] = self.worker_id
            if self.finished_s is not None:
                seen["executionTime"] = round((self.finished_s - self.taken_s) * 1000)
        if self.output is not None:
            seen["output"] = self.output
        if self.error:
            seen["error"] = self.error
        if self.retries:
            seen["retries"] = self.retries
        return seen

    def read_chunks(self) -> list[Json]:
        """What was streamed since the last call; RunPod gives each element once."""
        read = list(self.chunks)
        self.chunks.clear()
        self.chunk_bytes = 0
        return read
