"""The rules of jobs: which state may follow which, and where the result goes. The database holds to the same rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Protocol
from uuid import UUID

from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.media_types import AUDIO_EXTENSIONS
from livedub.library.types import (
    Container,
    DubRequest,
    Job,
    JobEvent,
    JobKind,
    JobOutput,
    JobPage,
    JobRequest,
    JobState,
    MediaError,
    PageRequest,
    Preset,
    TrimRequest,
)

LEGAL: Mapping[JobState, frozenset[JobState]] = {
    JobState.PENDING: frozenset({JobState.PROCESSING, JobState.FAILED, JobState.CANCELLED}),
    JobState.PROCESSING: frozenset(
        {JobState.PENDING, JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED}
    ),
    JobState.COMPLETED: frozenset(),
    JobState.FAILED: frozenset({JobState.PENDING}),
    JobState.CANCELLED: frozenset({JobState.PENDING}),
}
"""What may become what. Back to PENDING: a worker lets go of its job, or somebody asks for another try."""

FINISHED = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED})


class IllegalTransitionError(LibraryError):
    """ILLEGAL_TRANSITION: the job's state does not allow what was asked."""

    def __init__(self, job: Job, wanted: str) -> None:
        remedy = {
            JobState.COMPLETED: "It is done; make a new job to do it again.",
            JobState.FAILED: "Retry it, or make a new job.",
            JobState.CANCELLED: "Retry it, or make a new job.",
        }.get(job.state, "Wait until it has ended, or cancel it first.")
        super().__init__(
            LibraryErrorCode.ILLEGAL_TRANSITION,
            f"Job {job.id} is {job.state.value} and cannot be {wanted}.",
            remedy,
        )
        self.job = job


class FencedError(LibraryError):
    """FENCED: another attempt has taken over the job; whoever gets this stops and leaves everything as it is."""

    def __init__(self, job: Job, attempt: int) -> None:
        super().__init__(
            LibraryErrorCode.FENCED,
            f"Attempt {attempt} no longer holds job {job.id}, which is {job.state.value} at attempt {job.attempt}.",
            "Stop this attempt; another one works on the job, or will.",
        )
        self.job = job


class JobCancelledError(LibraryError):
    """CANCELLED: somebody has cancelled the job meanwhile."""

    def __init__(self, job: Job) -> None:
        super().__init__(LibraryErrorCode.CANCELLED, f"Job {job.id} has been cancelled.", "Stop the work.")
        self.job = job


class JobStore(Protocol):
    """Jobs in the catalogue. Methods block, may be called from any thread, and raise LibraryError.

    `attempt` is what `claim` gave; a call with an older one changes nothing.
    """

    def create(self, request: JobRequest, *, idempotency_key: str | None = None) -> Job:
        """Enter a job; with a key used before, give the job that was made then."""
        ...

    def get(self, job_id: UUID) -> Job:
        """One job."""
        ...

    def list(
        self,
        page: PageRequest | None = None,
        *,
        state: JobState | None = None,
        kind: JobKind | None = None,
        source_key: str | None = None,
    ) -> JobPage:
        """Jobs, the newest first."""
        ...

    def counts(self) -> dict[JobState, int]:
        """How many jobs are in each state."""
        ...

    def events(self, job_id: UUID) -> tuple[JobEvent, ...]:
        """What happened to a job, in order."""
        ...

    def claim(self, job_id: UUID, attempt_token: str) -> Job | None:
        """Begin an attempt; None where there is nothing to do for whoever asks."""
        ...

    def progress(self, job_id: UUID, attempt: int, fraction: float) -> bool:
        """Tell how far it is and keep the job; False says: stop."""
        ...

    def is_cancelled(self, job_id: UUID, attempt: int) -> bool:
        """Whether this attempt is to stop, because of a cancellation or of another attempt."""
        ...

    def complete(self, job_id: UUID, attempt: int, outputs: Sequence[JobOutput]) -> Job:
        """It is done."""
        ...

    def fail(self, job_id: UUID, attempt: int, error: MediaError) -> Job:
        """It cannot be done."""
        ...

    def release(self, job_id: UUID, attempt: int) -> Job:
        """Put it back for another attempt of the same submission."""
        ...

    def cancel(self, job_id: UUID) -> Job:
        """Nobody wants it any more."""
        ...

    def retry(self, job_id: UUID) -> Job:
        """Queue a failed or cancelled job once more."""
        ...

    def overdue(self, *, pending_s: float, limit: int = 100) -> tuple[Job, ...]:
        """Jobs that nobody seems to care for."""
        ...


def may_follow(now: JobState, then: JobState) -> bool:
    """Whether a job in state `now` may get into state `then`."""
    return then in LEGAL[now]


def output_key_of(request: JobRequest, preset: Preset | None) -> str:
    """Where the result goes: what the request says or, beside the source's path, a name made of what is done.

    The same request gives the same key, so doing it again replaces the result. Of an HLS rendition it is the
    playlist's key, in a folder of its own.

    Args:
        request: what is asked for.
        preset: the preset of a transcoding request.
    """
    if request.output_key is not None:
        return request.output_key
    source = PurePosixPath(request.source_key)
    return str(source.parent / f"{source.stem}.{_what_is_done(request, preset, source.suffix)}")


def _what_is_done(request: JobRequest, preset: Preset | None, extension: str) -> str:
    if isinstance(request, TrimRequest):
        span = f"{request.parameters.start_ms}-{request.parameters.end_ms}"
        return f"{span}.exact{extension}" if request.parameters.exact else f"{span}{extension}"
    if isinstance(request, DubRequest):
        languages = "-".join(target.language for target in request.parameters.targets)
        return f"dub.{languages}{'.m4a' if extension.lower() in AUDIO_EXTENSIONS else '.mp4'}"
    name = request.parameters.preset
    if preset is not None and preset.container is Container.HLS:
        return f"{name}/index.m3u8"
    return f"{name}.{preset.container.value if preset is not None else 'mp4'}"
