"""Jobs in Postgres, table `media_jobs`. Every change is one conditional UPDATE; a trigger checks it and notes it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from psycopg import Connection, errors
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from livedub.library.jobs import (
    FencedError,
    IllegalTransitionError,
    JobCancelledError,
    output_key_of,
)
from livedub.library.library_database_store import LibraryDatabase, narrowed
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.object_keys import check_key
from livedub.library.paging import bad_cursor, cursor_of, position_of
from livedub.library.presets import PresetStore
from livedub.library.types import (
    Job,
    JobEvent,
    JobKind,
    JobOutput,
    JobPage,
    JobRequest,
    JobState,
    MediaError,
    PageRequest,
    TranscodeParameters,
)

DEFAULT_LEASE_S = 60.0
DEFAULT_ATTEMPTS = 10

_ALMOST_DONE = 0.999
"""Progress reaches 1 with the result's row, not before."""

_COLUMNS = (
    "id",
    "kind",
    "state",
    "source_key",
    "output_key",
    "preset",
    "parameters",
    "progress",
    "error",
    "attempt",
    "submission",
    "outputs",
    "created_at",
    "updated_at",
    "started_at",
    "finished_at",
)
_JOB = SQL(", ").join(map(Identifier, _COLUMNS))

_CREATE = SQL("""
INSERT INTO media_jobs (id, kind, source_key, output_key, preset, parameters, idempotency_key)
VALUES (%(id)s, %(kind)s, %(source_key)s, %(output_key)s, %(preset)s, %(parameters)s, %(idempotency_key)s)
ON CONFLICT DO NOTHING
RETURNING {job}
""").format(job=_JOB)
_MADE_BEFORE = SQL("""
SELECT {job} FROM media_jobs WHERE id = %(id)s OR idempotency_key = %(idempotency_key)s
""").format(job=_JOB)
_GET = SQL("""
SELECT {job} FROM media_jobs WHERE id = %(id)s
""").format(job=_JOB)
_LIST = SQL("SELECT {job} FROM media_jobs {where} ORDER BY created_at DESC, id DESC LIMIT %(limit)s")
_NARROWED = {
    "state": SQL("state = %(state)s"),
    "kind": SQL("kind = %(kind)s"),
    "source_key": SQL("source_key = %(source_key)s"),
    "before_at": SQL("(created_at, id) < (%(before_at)s, %(before_id)s)"),
}
_EVENTS = """
SELECT job_id, number, at, state, attempt, submission, error_code FROM media_job_events
WHERE job_id = %(id)s ORDER BY number
"""

_CLAIMABLE = SQL("""
id = %(id)s AND (
    state = 'PENDING' OR state = 'PROCESSING' AND (attempt_token = %(token)s OR lease_until < clock_timestamp())
)
""")
_CLAIM = SQL("""
UPDATE media_jobs SET
    state = 'PROCESSING', attempt = attempt + 1, attempt_token = %(token)s, progress = 0,
    lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s), started_at = coalesce(started_at, now())
WHERE {claimable} AND attempt + 1 < first_attempt + %(attempts)s
RETURNING {job}
""").format(job=_JOB, claimable=_CLAIMABLE)
_GIVE_UP = SQL("""
UPDATE media_jobs SET
    state = 'FAILED', error = %(error)s, attempt_token = NULL, lease_until = NULL, finished_at = now()
WHERE {claimable} AND attempt + 1 >= first_attempt + %(attempts)s
""").format(claimable=_CLAIMABLE)
_PROGRESS = """
UPDATE media_jobs SET
    progress = greatest(progress, %(progress)s),
    lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s)
WHERE id = %(id)s AND attempt = %(attempt)s AND state = 'PROCESSING'
RETURNING true
"""
_HELD = "SELECT true FROM media_jobs WHERE id = %(id)s AND attempt = %(attempt)s AND state = 'PROCESSING'"
_COMPLETE = SQL("""
UPDATE media_jobs SET
    state = 'COMPLETED', progress = 1, outputs = %(outputs)s,
    attempt_token = NULL, lease_until = NULL, finished_at = now()
WHERE id = %(id)s AND attempt = %(attempt)s AND state = 'PROCESSING'
RETURNING {job}
""").format(job=_JOB)
_FAIL = SQL("""
UPDATE media_jobs SET
    state = 'FAILED', error = %(error)s, attempt_token = NULL, lease_until = NULL, finished_at = now()
WHERE id = %(id)s AND attempt = %(attempt)s AND state IN ('PENDING', 'PROCESSING')
RETURNING {job}
""").format(job=_JOB)
_RELEASE = SQL("""
UPDATE media_jobs SET
    state = 'PENDING', progress = 0, attempt_token = NULL, lease_until = NULL, queued_at = now()
WHERE id = %(id)s AND attempt = %(attempt)s AND state = 'PROCESSING'
RETURNING {job}
""").format(job=_JOB)
_CANCEL = SQL("""
UPDATE media_jobs SET state = 'CANCELLED', attempt_token = NULL, lease_until = NULL, finished_at = now()
WHERE id = %(id)s AND state IN ('PENDING', 'PROCESSING')
RETURNING {job}
""").format(job=_JOB)
_RETRY = SQL("""
UPDATE media_jobs SET
    state = 'PENDING', progress = 0, error = NULL, submission = submission + 1, first_attempt = attempt + 1,
    queued_at = now(), started_at = NULL, finished_at = NULL
WHERE id = %(id)s AND state IN ('FAILED', 'CANCELLED')
RETURNING {job}
""").format(job=_JOB)
_OVERDUE = SQL("""
SELECT {job} FROM media_jobs
WHERE state = 'PROCESSING' AND lease_until < now()
   OR state = 'PENDING' AND queued_at < now() - make_interval(secs => %(pending_s)s)
ORDER BY queued_at, id LIMIT %(limit)s
""").format(job=_JOB)


class PostgresJobs:
    """Implements `JobStore`. Times are the database's.

    An attempt holds its job by a lease, which `progress` renews. It loses it when the lease runs out and somebody else
    claims the job, or when the delivery that began it is delivered again: then its worker is taken for dead.
    """

    def __init__(
        self,
        database: LibraryDatabase,
        presets: PresetStore,
        *,
        lease_s: float = DEFAULT_LEASE_S,
        attempts: int = DEFAULT_ATTEMPTS,
    ) -> None:
        """Make a store; `attempts` bounds how often one submission is begun, so that no job kills workers for ever."""
        self._database = database
        self._presets = presets
        self._lease_s = lease_s
        self._attempts = attempts

    def create(self, request: JobRequest, *, idempotency_key: str | None = None) -> Job:
        """Enter a job as PENDING. With a key that was used before, give the job that was made then.

        Raises:
            LibraryError: BAD_KEY; UNKNOWN_PRESET; OUTPUT_IN_USE; INVALID_REQUEST (the idempotency key belongs to
                another request); CATALOGUE_DOWN.
        """
        source_key = check_key(request.source_key)
        preset = None
        if isinstance(request.parameters, TranscodeParameters):
            preset = self._presets.get(request.parameters.preset)
        output_key = check_key(output_key_of(request, preset))
        parameters = {
            "id": uuid4(),
            "kind": request.kind.value,
            "source_key": source_key,
            "output_key": output_key,
            "preset": None if preset is None else Jsonb(preset.model_dump(mode="json")),
            "parameters": Jsonb(request.parameters.model_dump(mode="json")),
            "idempotency_key": idempotency_key,
        }
        # The id is ours: where the answer was lost but the row is there, it is not made twice.
        row = self._database.row(_CREATE, parameters) or self._database.row(_MADE_BEFORE, parameters)
        if row is None:
            raise _output_in_use(output_key)
        job = _job(row)
        if not _answers(job, request, output_key):
            raise LibraryError(
                LibraryErrorCode.INVALID_REQUEST,
                f"The idempotency key {idempotency_key!r} belongs to job {job.id}, which asks for something else.",
                "Take a new key for a new request.",
            )
        return job

    def get(self, job_id: UUID) -> Job:
        """One job.

        Raises:
            LibraryError: NO_SUCH_JOB; CATALOGUE_DOWN.
        """
        row = self._database.row(_GET, {"id": job_id})
        if row is None:
            raise _no_such_job(job_id)
        return _job(row)

    def list(
        self,
        page: PageRequest | None = None,
        *,
        state: JobState | None = None,
        kind: JobKind | None = None,
        source_key: str | None = None,
    ) -> JobPage:
        """Jobs, the newest first.

        Raises:
            LibraryError: INVALID_REQUEST (the cursor); CATALOGUE_DOWN.
        """
        page = page or PageRequest()
        before_at, before_id = _position(page.cursor)
        parameters = {
            "state": state and state.value,
            "kind": kind and kind.value,
            "source_key": source_key,
            "before_at": before_at,
            "before_id": before_id,
        }
        query = _LIST.format(job=_JOB, where=narrowed(_NARROWED, parameters))
        rows = self._database.rows(query, {**parameters, "limit": page.limit + 1})
        items = tuple(_job(row) for row in rows[: page.limit])
        following = len(rows) > page.limit
        cursor = cursor_of(items[-1].created_at.isoformat(), str(items[-1].id)) if following else None
        return JobPage(items=items, next_cursor=cursor)

    def counts(self) -> dict[JobState, int]:
        """How many jobs are in each state.

        Raises:
            LibraryError: CATALOGUE_DOWN.
        """
        found = self._database.rows("SELECT state, count(*) FROM media_jobs GROUP BY state", {})
        return dict.fromkeys(JobState, 0) | {JobState(state): count for state, count in found}

    def events(self, job_id: UUID) -> tuple[JobEvent, ...]:
        """What happened to a job, in order; nothing where there is no such job.

        Raises:
            LibraryError: CATALOGUE_DOWN.
        """
        names = ("job_id", "number", "at", "state", "attempt", "submission", "error_code")
        rows = self._database.rows(_EVENTS, {"id": job_id})
        return tuple(JobEvent.model_validate(dict(zip(names, row, strict=True))) for row in rows)

    def claim(self, job_id: UUID, attempt_token: str) -> Job | None:
        """Begin an attempt on a job that is PENDING, or whose last attempt is dead.

        Args:
            job_id: the job.
            attempt_token: names the delivery that brings the job here. Delivered again it takes the job over at once,
                another one only when the lease has run out.

        Returns:
            The job with its new attempt, or None where it is finished, somebody else's, or not known at all. Where
            this submission was begun too often already, it has failed with ATTEMPTS_EXHAUSTED.

        Raises:
            LibraryError: CATALOGUE_DOWN.
        """
        exhausted = MediaError(
            code=LibraryErrorCode.ATTEMPTS_EXHAUSTED,
            message=f"Work was begun {self._attempts} times and never ended.",
            remedy="See the workers' logs for what ended them, then retry the job.",
        )
        parameters = {
            "id": job_id,
            "token": attempt_token,
            "lease_s": self._lease_s,
            "attempts": self._attempts,
            "error": Jsonb(exhausted.model_dump(mode="json")),
        }

        def work(connection: Connection[tuple[Any, ...]]) -> tuple[Any, ...] | None:
            row = connection.execute(_CLAIM, parameters).fetchone()
            if row is None:
                connection.execute(_GIVE_UP, parameters)
            return row

        row = self._database.run(work)
        return None if row is None else _job(row)

    def progress(self, job_id: UUID, attempt: int, fraction: float) -> bool:
        """Tell how far it is (0 to 1) and renew the lease, to be done well within it.

        Returns:
            False where the attempt no longer holds the job: stop.

        Raises:
            LibraryError: CATALOGUE_DOWN.
        """
        # In this order, NaN becomes 0.
        progress = min(max(0.0, fraction), _ALMOST_DONE)
        parameters = {"id": job_id, "attempt": attempt, "progress": progress, "lease_s": self._lease_s}
        return self._database.row(_PROGRESS, parameters) is not None

    def is_cancelled(self, job_id: UUID, attempt: int) -> bool:
        """Whether this attempt is to stop, because of a cancellation or of another attempt. Does not renew the lease.

        Raises:
            LibraryError: CATALOGUE_DOWN.
        """
        return self._database.row(_HELD, {"id": job_id, "attempt": attempt}) is None

    def complete(self, job_id: UUID, attempt: int, outputs: Sequence[JobOutput]) -> Job:
        """It is done; saying so once more changes nothing.

        Raises:
            LibraryError: NO_SUCH_JOB; CANCELLED; FENCED; CATALOGUE_DOWN.
        """
        wanted = tuple(outputs)
        packed = Jsonb([output.model_dump(mode="json") for output in wanted])
        row = self._database.row(_COMPLETE, {"id": job_id, "attempt": attempt, "outputs": packed})
        if row is not None:
            return _job(row)
        job = self._held_no_more(job_id, attempt)
        if job.state is JobState.COMPLETED and job.attempt == attempt and job.outputs == wanted:
            return job
        raise FencedError(job, attempt)

    def fail(self, job_id: UUID, attempt: int, error: MediaError) -> Job:
        """It cannot be done; saying so once more changes nothing. For a job never begun, `attempt` is 0.

        Raises:
            LibraryError: NO_SUCH_JOB; CANCELLED; FENCED; CATALOGUE_DOWN.
        """
        packed = Jsonb(error.model_dump(mode="json"))
        row = self._database.row(_FAIL, {"id": job_id, "attempt": attempt, "error": packed})
        if row is not None:
            return _job(row)
        job = self._held_no_more(job_id, attempt)
        if job.state is JobState.FAILED and job.attempt == attempt:
            return job
        raise FencedError(job, attempt)

    def release(self, job_id: UUID, attempt: int) -> Job:
        """Put it back as PENDING, for another attempt of the same submission; saying so once more changes nothing.

        Raises:
            LibraryError: NO_SUCH_JOB; CANCELLED; FENCED; CATALOGUE_DOWN.
        """
        row = self._database.row(_RELEASE, {"id": job_id, "attempt": attempt})
        if row is not None:
            return _job(row)
        job = self._held_no_more(job_id, attempt)
        if job.state is JobState.PENDING and job.attempt == attempt:
            return job
        raise FencedError(job, attempt)

    def cancel(self, job_id: UUID) -> Job:
        """Nobody wants it any more; whoever works on it is told by `progress` and `is_cancelled`.

        Raises:
            LibraryError: NO_SUCH_JOB; ILLEGAL_TRANSITION (it has completed or failed); CATALOGUE_DOWN.
        """
        row = self._database.row(_CANCEL, {"id": job_id})
        if row is not None:
            return _job(row)
        job = self.get(job_id)
        if job.state is not JobState.CANCELLED:
            raise IllegalTransitionError(job, "cancelled")
        return job

    def retry(self, job_id: UUID) -> Job:
        """Queue a failed or cancelled job once more, as a new submission.

        Raises:
            LibraryError: NO_SUCH_JOB; ILLEGAL_TRANSITION; OUTPUT_IN_USE; CATALOGUE_DOWN.
        """

        def work(connection: Connection[tuple[Any, ...]]) -> tuple[Any, ...] | None:
            try:
                return connection.execute(_RETRY, {"id": job_id}).fetchone()
            except errors.UniqueViolation:
                return ()

        row = self._database.run(work)
        if row is None:
            raise IllegalTransitionError(self.get(job_id), "retried")
        if not row:
            raise _output_in_use(self.get(job_id).output_key)
        return _job(row)

    def overdue(self, *, pending_s: float, limit: int = 100) -> tuple[Job, ...]:
        """Jobs whose attempt is dead, and those PENDING for longer than `pending_s`, the oldest first.

        Raises:
            LibraryError: CATALOGUE_DOWN.
        """
        rows = self._database.rows(_OVERDUE, {"pending_s": pending_s, "limit": limit})
        return tuple(_job(row) for row in rows)

    def _held_no_more(self, job_id: UUID, attempt: int) -> Job:
        """The job as it is, unless it has been cancelled under this attempt."""
        job = self.get(job_id)
        if job.state is JobState.CANCELLED and job.attempt == attempt:
            raise JobCancelledError(job)
        return job


def _job(row: tuple[Any, ...]) -> Job:
    return Job.model_validate(dict(zip(_COLUMNS, row, strict=True)))


def _answers(job: Job, request: JobRequest, output_key: str) -> bool:
    asked = (request.kind, request.source_key, output_key, request.parameters)
    return asked == (job.kind, job.source_key, job.output_key, job.parameters)


def _position(cursor: str | None) -> tuple[datetime | None, UUID | None]:
    if cursor is None:
        return None, None
    at, job_id = position_of(cursor, 2)
    try:
        return datetime.fromisoformat(at), UUID(job_id)
    except ValueError:
        raise bad_cursor() from None


def _no_such_job(job_id: UUID) -> LibraryError:
    return LibraryError(
        LibraryErrorCode.NO_SUCH_JOB, f"There is no job {job_id}.", "List them: livedub library job list."
    )


def _output_in_use(output_key: str) -> LibraryError:
    return LibraryError(
        LibraryErrorCode.OUTPUT_IN_USE,
        f"Another job is about to write {output_key!r}.",
        "Wait for it, cancel it, or give another output_key.",
    )
