"""Jobs in a real Postgres: who may do what, when, and what is left behind."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from livedub.database.postgres_store import Database, Patience
from livedub.library.catalogue import Catalogue, connect_catalogue
from livedub.library.job_store import PostgresJobs
from livedub.library.jobs import (
    FINISHED,
    LEGAL,
    FencedError,
    IllegalTransitionError,
    JobCancelledError,
    JobStore,
)
from livedub.library.library_database_store import LibraryDatabase
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.preset_store import PostgresPresets
from livedub.library.presets import BUILT_IN
from livedub.library.types import (
    JOB_REQUEST,
    Job,
    JobKind,
    JobOutput,
    JobRequest,
    JobState,
    MediaError,
    PageRequest,
    TrimRequest,
)

Ask = Callable[..., list[tuple[Any, ...]]]
FAILURE = MediaError(code=LibraryErrorCode.NOT_MEDIA, message="It is a poem.", remedy="Film it.")
OUTPUTS = (JobOutput(key="out.mp4", size_bytes=5, content_type="video/mp4", sha256="0" * 64),)


@pytest.fixture
def jobs(catalogue: Catalogue) -> JobStore:
    return catalogue.jobs


def trim(source: str = "in.mp4", output: str | None = None, end_ms: int = 1_000) -> JobRequest:
    return JOB_REQUEST.validate_python(
        {
            "kind": "trim",
            "source_key": source,
            "output_key": output,
            "parameters": {"start_ms": 0, "end_ms": end_ms},
        }
    )


def transcode(preset: str, source: str = "in.mp4") -> JobRequest:
    return JOB_REQUEST.validate_python(
        {"kind": "transcode", "source_key": source, "parameters": {"preset": preset}}
    )


def claimed(jobs: JobStore, job_id: UUID, delivery: str = "delivery-1") -> Job:
    job = jobs.claim(job_id, delivery)
    assert job is not None
    return job


def bring_to(jobs: JobStore, state: JobState) -> Job:
    """A new job in a state."""
    job = jobs.create(trim(f"{uuid4()}.mp4"))
    if state is not JobState.PENDING:
        job = claimed(jobs, job.id)
    if state is JobState.COMPLETED:
        job = jobs.complete(job.id, job.attempt, OUTPUTS)
    elif state is JobState.FAILED:
        job = jobs.fail(job.id, job.attempt, FAILURE)
    elif state is JobState.CANCELLED:
        job = jobs.cancel(job.id)
    assert job.state is state
    return job


def states(jobs: JobStore, job_id: UUID) -> list[tuple[str, int, int]]:
    return [(event.state.value, event.attempt, event.submission) for event in jobs.events(job_id)]


def test_a_new_job_is_what_was_asked_for(jobs: JobStore):
    job = jobs.create(transcode("web-720p", "shows/one.mkv"))
    assert (job.kind, job.state, job.source_key) == (JobKind.TRANSCODE, JobState.PENDING, "shows/one.mkv")
    assert job.output_key == "shows/one.web-720p.mp4"
    assert job.preset == BUILT_IN["web-720p"]
    assert (job.progress, job.attempt, job.submission, job.outputs, job.error) == (0.0, 0, 1, (), None)
    assert jobs.get(job.id) == job
    assert job.created_at.utcoffset() is not None


def test_a_job_keeps_its_preset(catalogue: Catalogue, jobs: JobStore):
    own = BUILT_IN["web-720p"].model_copy(update={"name": "ours"})
    catalogue.presets.put(own)
    job = jobs.create(transcode("ours"))
    catalogue.presets.delete("ours")
    assert jobs.get(job.id).preset == own


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (trim("../secret.mp4"), LibraryErrorCode.BAD_KEY),
        (trim(output="a\nb.mp4"), LibraryErrorCode.BAD_KEY),
        (trim("a" * 1_019 + ".mp4"), LibraryErrorCode.BAD_KEY),
        (transcode("cinema"), LibraryErrorCode.UNKNOWN_PRESET),
    ],
    ids=["source", "output", "too-long-with-its-suffix", "preset"],
)
def test_what_cannot_be_done_is_refused_and_leaves_no_row(
    jobs: JobStore, sql: Ask, request_: JobRequest, code: LibraryErrorCode
):
    with pytest.raises(LibraryError) as refused:
        jobs.create(request_)
    assert refused.value.code is code
    assert sql("SELECT count(*) FROM media_jobs") == [(0,)]


def test_a_repeated_request_gives_the_same_job(jobs: JobStore):
    first = jobs.create(trim(), idempotency_key="mine")
    claimed(jobs, first.id)
    assert jobs.create(trim(), idempotency_key="mine") == jobs.get(first.id)
    with pytest.raises(LibraryError, match="something else"):
        jobs.create(trim(end_ms=2_000), idempotency_key="mine")


def test_repeated_requests_at_once_give_one_job(catalogue: Catalogue, sql: Ask):
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda _: catalogue.jobs.create(trim(), idempotency_key="k").id, range(12)))
    assert len(set(made)) == 1
    assert sql("SELECT count(*) FROM media_jobs") == [(1,)]


def test_two_jobs_do_not_write_the_same_object_at_once(jobs: JobStore):
    first = jobs.create(trim(output="o.mp4"))
    with pytest.raises(LibraryError) as refused:
        jobs.create(trim("other.mp4", output="o.mp4"))
    assert refused.value.code is LibraryErrorCode.OUTPUT_IN_USE
    jobs.cancel(first.id)
    jobs.create(trim("other.mp4", output="o.mp4"))
    with pytest.raises(LibraryError) as refused:
        jobs.retry(first.id)
    assert refused.value.code is LibraryErrorCode.OUTPUT_IN_USE
    assert jobs.get(first.id).state is JobState.CANCELLED


def test_an_unknown_job_is_none(jobs: JobStore):
    nobody = uuid4()
    for call in (
        lambda: jobs.get(nobody),
        lambda: jobs.cancel(nobody),
        lambda: jobs.retry(nobody),
        lambda: jobs.complete(nobody, 1, OUTPUTS),
        lambda: jobs.fail(nobody, 1, FAILURE),
        lambda: jobs.release(nobody, 1),
    ):
        with pytest.raises(LibraryError) as refused:
            call()
        assert refused.value.code is LibraryErrorCode.NO_SUCH_JOB
    assert jobs.claim(nobody, "t") is None
    assert not jobs.progress(nobody, 1, 0.5)
    assert jobs.is_cancelled(nobody, 1)


def test_from_the_queue_to_the_result(jobs: JobStore):
    job = jobs.create(trim())
    running = claimed(jobs, job.id)
    assert (running.state, running.attempt) == (JobState.PROCESSING, 1)
    assert running.started_at is not None
    assert jobs.progress(job.id, 1, 0.5)
    assert jobs.progress(job.id, 1, 0.25)
    assert jobs.get(job.id).progress == 0.5
    done = jobs.complete(job.id, 1, OUTPUTS)
    assert (done.state, done.progress, done.outputs) == (JobState.COMPLETED, 1.0, OUTPUTS)
    assert done.finished_at is not None
    assert states(jobs, job.id) == [("PENDING", 0, 1), ("PROCESSING", 1, 1), ("COMPLETED", 1, 1)]
    assert [event.number for event in jobs.events(job.id)] == [1, 2, 3]


@pytest.mark.parametrize("fraction", [1.0, 7.5, float("inf")])
def test_progress_is_full_only_with_the_result(jobs: JobStore, fraction: float):
    job = bring_to(jobs, JobState.PROCESSING)
    assert jobs.progress(job.id, 1, fraction)
    assert 0.99 < jobs.get(job.id).progress < 1


@pytest.mark.parametrize("fraction", [-1.0, float("nan"), float("-inf")])
def test_progress_that_is_none_does_no_harm(jobs: JobStore, fraction: float):
    job = bring_to(jobs, JobState.PROCESSING)
    assert jobs.progress(job.id, 1, fraction)
    assert jobs.get(job.id).progress == 0


def test_one_of_many_gets_a_job(catalogue: Catalogue):
    job = catalogue.jobs.create(trim())
    at_once = threading.Barrier(8)

    def claim(number: int) -> Job | None:
        at_once.wait(30)
        return catalogue.jobs.claim(job.id, f"delivery-{number}")

    with ThreadPoolExecutor(8) as pool:
        got = [job for job in pool.map(claim, range(8)) if job is not None]
    assert [job.attempt for job in got] == [1]


def test_a_delivery_that_comes_again_takes_over(jobs: JobStore):
    job = bring_to(jobs, JobState.PROCESSING)
    assert jobs.claim(job.id, "delivery-2") is None
    again = claimed(jobs, job.id, "delivery-1")
    assert again.attempt == 2
    assert jobs.is_cancelled(job.id, 1)
    assert not jobs.is_cancelled(job.id, 2)


def test_an_attempt_that_says_nothing_loses_its_job(jobs: JobStore, sql: Ask):
    job = bring_to(jobs, JobState.PROCESSING)
    assert jobs.overdue(pending_s=3_600) == ()
    sql("UPDATE media_jobs SET lease_until = now() - interval '1 s' WHERE id = %s", job.id)
    assert [one.id for one in jobs.overdue(pending_s=3_600)] == [job.id]
    assert claimed(jobs, job.id, "delivery-2").attempt == 2
    assert jobs.overdue(pending_s=3_600) == ()


def test_progress_keeps_the_job(jobs: JobStore, sql: Ask):
    job = bring_to(jobs, JobState.PROCESSING)
    sql("UPDATE media_jobs SET lease_until = now() - interval '1 s' WHERE id = %s", job.id)
    assert jobs.progress(job.id, 1, 0.1)
    assert jobs.claim(job.id, "delivery-2") is None


def test_whoever_was_overtaken_changes_nothing(jobs: JobStore):
    job = bring_to(jobs, JobState.PROCESSING)
    claimed(jobs, job.id, "delivery-1")
    assert not jobs.progress(job.id, 1, 0.9)
    for call in (
        lambda: jobs.complete(job.id, 1, OUTPUTS),
        lambda: jobs.fail(job.id, 1, FAILURE),
        lambda: jobs.release(job.id, 1),
    ):
        with pytest.raises(FencedError):
            call()
    assert (jobs.get(job.id).state, jobs.get(job.id).progress) == (JobState.PROCESSING, 0)


def test_a_result_told_twice_counts_once(jobs: JobStore):
    job = bring_to(jobs, JobState.COMPLETED)
    assert jobs.complete(job.id, 1, OUTPUTS) == job
    with pytest.raises(FencedError):
        jobs.complete(job.id, 1, ())
    with pytest.raises(FencedError):
        jobs.fail(job.id, 1, FAILURE)
    assert states(jobs, job.id)[-1] == ("COMPLETED", 1, 1)
    assert len(jobs.events(job.id)) == 3


def test_a_failure_says_what_happened(jobs: JobStore):
    job = bring_to(jobs, JobState.FAILED)
    assert job.error == FAILURE
    assert jobs.fail(job.id, 1, FAILURE) == job
    last = jobs.events(job.id)[-1]
    assert (last.state, last.error_code) == (JobState.FAILED, LibraryErrorCode.NOT_MEDIA)


def test_a_job_that_nobody_could_queue_fails_without_an_attempt(jobs: JobStore):
    job = jobs.create(trim())
    assert jobs.fail(job.id, 0, FAILURE).state is JobState.FAILED


def test_a_worker_that_has_to_go_puts_its_job_back(jobs: JobStore):
    job = bring_to(jobs, JobState.PROCESSING)
    jobs.progress(job.id, 1, 0.5)
    back = jobs.release(job.id, 1)
    assert (back.state, back.progress, back.submission) == (JobState.PENDING, 0, 1)
    assert jobs.release(job.id, 1) == back
    assert claimed(jobs, job.id, "delivery-2").attempt == 2


@pytest.mark.parametrize("state", [JobState.PENDING, JobState.PROCESSING, JobState.CANCELLED])
def test_a_job_can_be_cancelled(jobs: JobStore, state: JobState):
    job = bring_to(jobs, state)
    cancelled = jobs.cancel(job.id)
    assert (cancelled.state, cancelled.attempt) == (JobState.CANCELLED, job.attempt)
    assert jobs.claim(job.id, "delivery-1") is None
    assert jobs.is_cancelled(job.id, job.attempt)
    assert not jobs.progress(job.id, job.attempt, 0.5)
    with pytest.raises(JobCancelledError):
        jobs.complete(job.id, job.attempt, OUTPUTS)
    with pytest.raises(JobCancelledError):
        jobs.fail(job.id, job.attempt, FAILURE)


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.FAILED])
def test_a_finished_job_cannot_be_cancelled(jobs: JobStore, state: JobState):
    job = bring_to(jobs, state)
    with pytest.raises(IllegalTransitionError) as refused:
        jobs.cancel(job.id)
    assert refused.value.code is LibraryErrorCode.ILLEGAL_TRANSITION
    assert jobs.get(job.id) == job


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
def test_another_try_is_another_submission(jobs: JobStore, state: JobState):
    job = bring_to(jobs, state)
    again = jobs.retry(job.id)
    assert (again.state, again.submission, again.attempt) == (JobState.PENDING, 2, 1)
    assert (again.error, again.progress, again.finished_at, again.started_at) == (None, 0, None, None)
    assert claimed(jobs, job.id).attempt == 2
    assert jobs.complete(job.id, 2, OUTPUTS).state is JobState.COMPLETED
    assert states(jobs, job.id)[-3:] == [("PENDING", 1, 2), ("PROCESSING", 2, 2), ("COMPLETED", 2, 2)]


@pytest.mark.parametrize("state", [JobState.PENDING, JobState.PROCESSING, JobState.COMPLETED])
def test_only_what_ended_without_a_result_is_tried_again(jobs: JobStore, state: JobState):
    job = bring_to(jobs, state)
    with pytest.raises(IllegalTransitionError):
        jobs.retry(job.id)
    assert jobs.get(job.id) == job


def test_a_job_that_kills_its_workers_is_given_up_and_may_be_tried_again(catalogue_url: str, sql: Ask):
    catalogue = connect_catalogue(catalogue_url, attempts=3)
    try:
        jobs = catalogue.jobs
        job = jobs.create(trim())
        assert [claimed(jobs, job.id).attempt for _ in range(3)] == [1, 2, 3]
        assert jobs.claim(job.id, "delivery-1") is None
        failed = jobs.get(job.id)
        assert failed.state is JobState.FAILED
        assert failed.error is not None
        assert failed.error.code is LibraryErrorCode.ATTEMPTS_EXHAUSTED
        jobs.retry(job.id)
        assert [claimed(jobs, job.id).attempt for _ in range(3)] == [4, 5, 6]
    finally:
        catalogue.close()


def test_a_job_that_waits_long_is_overdue(jobs: JobStore, sql: Ask):
    job = jobs.create(trim())
    fresh = jobs.create(trim("fresh.mp4"))
    sql("UPDATE media_jobs SET queued_at = now() - interval '1 hour' WHERE id = %s", job.id)
    assert [one.id for one in jobs.overdue(pending_s=60)] == [job.id]
    assert {one.id for one in jobs.overdue(pending_s=-1)} == {job.id, fresh.id}
    assert len(jobs.overdue(pending_s=-1, limit=1)) == 1


def test_a_list_goes_through_all_jobs_once(jobs: JobStore, sql: Ask):
    made = [jobs.create(trim(f"{number}.mp4")).id for number in range(5)]
    # All at the same moment: the id decides.
    sql("UPDATE media_jobs SET created_at = '2026-01-01T00:00:00Z'")
    seen: list[UUID] = []
    cursor = None
    for _ in range(3):
        page = jobs.list(PageRequest(limit=2, cursor=cursor))
        seen += [job.id for job in page.items]
        cursor = page.next_cursor
    assert cursor is None
    assert seen == sorted(made, reverse=True)


def test_a_list_can_be_narrowed(jobs: JobStore):
    done = bring_to(jobs, JobState.COMPLETED)
    waiting = jobs.create(transcode("hls", "film.mp4"))
    assert [job.id for job in jobs.list().items] == [waiting.id, done.id]
    assert [job.id for job in jobs.list(state=JobState.COMPLETED).items] == [done.id]
    assert [job.id for job in jobs.list(kind=JobKind.TRANSCODE).items] == [waiting.id]
    assert [job.id for job in jobs.list(source_key="film.mp4").items] == [waiting.id]
    assert jobs.list(kind=JobKind.DUB).items == ()


@pytest.mark.parametrize("cursor", ["", "x", "bm9wZQ", "WyJhIiwiYiJd", "eyJhIjoxfQ", "é", "W1tbW1s"])
def test_a_cursor_that_was_never_given_out_is_refused(jobs: JobStore, cursor: str):
    with pytest.raises(LibraryError) as refused:
        jobs.list(PageRequest(cursor=cursor))
    assert refused.value.code is LibraryErrorCode.INVALID_REQUEST


def test_jobs_are_counted(jobs: JobStore):
    for state in (JobState.PENDING, JobState.FAILED, JobState.FAILED):
        bring_to(jobs, state)
    assert jobs.counts() == {
        JobState.PENDING: 1,
        JobState.PROCESSING: 0,
        JobState.COMPLETED: 0,
        JobState.FAILED: 2,
        JobState.CANCELLED: 0,
    }


_SET = {
    JobState.PENDING: "state = 'PENDING', error = NULL, attempt_token = NULL, lease_until = NULL, finished_at = NULL",
    JobState.PROCESSING: "state = 'PROCESSING', attempt = attempt + 1, attempt_token = 't', lease_until = now(),"
    " error = NULL, finished_at = NULL",
    JobState.COMPLETED: "state = 'COMPLETED', progress = 1, error = NULL, attempt_token = NULL, lease_until = NULL,"
    " finished_at = now()",
    JobState.FAILED: "state = 'FAILED', error = '{}', attempt_token = NULL, lease_until = NULL, finished_at = now()",
    JobState.CANCELLED: "state = 'CANCELLED', error = NULL, attempt_token = NULL, lease_until = NULL,"
    " finished_at = now()",
}


def allows(jobs: JobStore, sql: Ask, now: JobState, then: JobState) -> bool:
    job = bring_to(jobs, now)
    try:
        sql(f"UPDATE media_jobs SET {_SET[then]} WHERE id = %s", job.id)  # noqa: S608 - from above
    except psycopg.Error as error:
        if error.sqlstate != "LD001":
            raise
        return False
    return True


@pytest.mark.parametrize("now", JobState)
def test_the_database_knows_the_same_transitions(jobs: JobStore, sql: Ask, now: JobState):
    staying = frozenset() if now in FINISHED else {now}
    assert {then for then in JobState if allows(jobs, sql, now, then)} == LEGAL[now] | staying


@pytest.mark.parametrize(
    "change",
    [
        "attempt = attempt + 2",
        "attempt = attempt - 1",
        "progress = 1.5",
        "progress = 'NaN'",
        "attempt_token = NULL",
        "finished_at = now()",
        "error = '{}'",
        "preset = '{}'",
        "outputs = '{}'",
        "submission = 0",
        "state = 'DONE'",
        "kind = 'burn'",
    ],
)
def test_the_database_refuses_what_makes_no_sense(jobs: JobStore, sql: Ask, change: str):
    job = bring_to(jobs, JobState.PROCESSING)
    with pytest.raises(psycopg.Error):
        sql(f"UPDATE media_jobs SET {change} WHERE id = %s", job.id)  # noqa: S608 - the cases above
    assert jobs.get(job.id) == job


def test_no_job_is_born_finished(sql: Ask):
    with pytest.raises(psycopg.Error, match="a new job is PENDING"):
        sql(
            "INSERT INTO media_jobs (kind, source_key, output_key, parameters, state, progress, finished_at)"
            " VALUES ('trim', 'a', 'b', '{}', 'COMPLETED', 1, now())"
        )


def test_a_hundred_deliveries_of_twenty_jobs_end_each_job_once(catalogue: Catalogue):
    """Deliveries come several times, workers vanish in the middle; every job ends with one result."""
    jobs = catalogue.jobs
    made = [jobs.create(trim(f"{number}.mp4")).id for number in range(20)]
    written: list[tuple[UUID, int]] = []

    def deliver(number: int) -> None:
        job_id = made[number % len(made)]
        # The same token for all deliveries of a job: each takes over from the one before.
        job = jobs.claim(job_id, f"task-{job_id}")
        if job is None or number % 3 == 0:
            return
        if not jobs.progress(job_id, job.attempt, 0.5):
            return
        try:
            jobs.complete(job_id, job.attempt, OUTPUTS)
        except FencedError:
            return
        written.append((job_id, job.attempt))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(deliver, range(100)))
    # Whoever was interrupted comes once more, alone.
    for job_id in made:
        job = jobs.claim(job_id, f"task-{job_id}")
        if job is not None:
            jobs.complete(job_id, job.attempt, OUTPUTS)
            written.append((job_id, job.attempt))
    assert sorted(job_id for job_id, _ in written) == sorted(made)
    for job_id in made:
        assert [state for state, _, _ in states(jobs, job_id)].count("COMPLETED") == 1


def test_a_database_that_is_down_has_a_code(tmp_path: Path):
    nobody = Database(
        f"postgresql:///nowhere?host={tmp_path}", name="down", patience=Patience(connection_ms=100)
    )
    database = LibraryDatabase(nobody)
    try:
        with pytest.raises(LibraryError) as refused:
            PostgresJobs(database, PostgresPresets(database)).create(trim())
    finally:
        database.close()
    assert refused.value.code is LibraryErrorCode.CATALOGUE_DOWN
    assert refused.value.retryable


def test_a_request_is_told_apart_by_its_kind():
    assert isinstance(trim(), TrimRequest)
