"""Jobs in memory, with the rules of the catalogue's table as far as attempts go; can be down, and can be interfered with."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from livedub.library.jobs import FencedError, JobCancelledError
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.types import Job, JobKind, JobOutput, JobState, MediaError, TrimParameters

NOW = datetime(2026, 3, 12, 19, 4, tzinfo=UTC)
OUTPUT = JobOutput(key="out/clip.wav", size_bytes=3, content_type="audio/wav", sha256="0" * 64)


def job(**changes: Any) -> Job:
    fields: dict[str, Any] = {
        "id": uuid.uuid4(),
        "kind": JobKind.TRIM,
        "state": JobState.PENDING,
        "source_key": "in/clip.wav",
        "output_key": "out/clip.wav",
        "parameters": TrimParameters(start_ms=0, end_ms=1_000),
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Job.model_validate({**fields, **changes})


class MemoryJobs:
    """One job. The lease runs out when a test says so."""

    def __init__(self, kept: Job | None = None) -> None:
        self.job = kept or job()
        self.token = ""
        self.lease_over = False
        self.down = 0
        """Calls still to fail; -1 for all."""
        self.told: list[float] = []
        self.heard = threading.Event()
        """Set by every sign of life."""
        self._lock = threading.RLock()

    def change(self, **changes: Any) -> Job:
        self.job = self.job.model_copy(update=changes)
        return self.job

    def get(self, job_id: uuid.UUID) -> Job:
        self._answer()
        assert job_id == self.job.id
        return self.job

    def claim(self, job_id: uuid.UUID, attempt_token: str) -> Job | None:
        self._answer()
        with self._lock:
            free = self.job.state is JobState.PENDING
            dead = self.job.state is JobState.PROCESSING and (self.lease_over or attempt_token == self.token)
            if not free and not dead:
                return None
            self.token, self.lease_over = attempt_token, False
            return self.change(state=JobState.PROCESSING, attempt=self.job.attempt + 1, progress=0.0)

    def progress(self, job_id: uuid.UUID, attempt: int, fraction: float) -> bool:
        try:
            self._answer()
        finally:
            self.heard.set()
        self.told.append(fraction)
        return self._holds(attempt)

    def is_cancelled(self, job_id: uuid.UUID, attempt: int) -> bool:
        self._answer()
        return not self._holds(attempt)

    def complete(self, job_id: uuid.UUID, attempt: int, outputs: Sequence[JobOutput]) -> Job:
        self._require(attempt)
        return self.change(state=JobState.COMPLETED, outputs=tuple(outputs), progress=1.0)

    def fail(self, job_id: uuid.UUID, attempt: int, error: MediaError) -> Job:
        self._require(attempt)
        return self.change(state=JobState.FAILED, error=error)

    def release(self, job_id: uuid.UUID, attempt: int) -> Job:
        self._require(attempt)
        return self.change(state=JobState.PENDING, progress=0.0)

    def cancel(self, job_id: uuid.UUID) -> Job:
        return self.change(state=JobState.CANCELLED)

    def overdue(self, *, pending_s: float, limit: int = 100) -> tuple[Job, ...]:
        self._answer()
        return (self.job,) if self.job.state is JobState.PENDING else ()

    def _unasked(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("no attempt asks for this")

    create = list = counts = events = retry = _unasked

    def _holds(self, attempt: int) -> bool:
        return self.job.state is JobState.PROCESSING and self.job.attempt == attempt

    def _require(self, attempt: int) -> None:
        self._answer()
        if self.job.state is JobState.CANCELLED:
            raise JobCancelledError(self.job)
        if not self._holds(attempt):
            raise FencedError(self.job, attempt)

    def _answer(self) -> None:
        if self.down:
            self.down -= 1 if self.down > 0 else 0
            raise LibraryError(LibraryErrorCode.CATALOGUE_DOWN, "The catalogue does not answer.")
