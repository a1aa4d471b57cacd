"""Any sequence of calls, by anybody with any attempt, against a model of a few lines."""

from dataclasses import dataclass
from itertools import pairwise
from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from livedub.library.catalogue import Catalogue
from livedub.library.jobs import FINISHED, LEGAL, JobStore
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.types import JOB_REQUEST, Job, JobOutput, JobState, MediaError

FAILURE = MediaError(code=LibraryErrorCode.WORK_FAILED, message="It broke.")
OUTPUTS = (JobOutput(key="o.mp4", size_bytes=1, content_type="video/mp4"),)
ACTIONS = ("claim", "progress", "complete", "fail", "release", "cancel", "retry")

calls = st.tuples(st.sampled_from(ACTIONS), st.integers(0, 3), st.sampled_from(["delivery-1", "delivery-2"]))


@dataclass
class Model:
    """What a job should be like."""

    state: JobState = JobState.PENDING
    attempt: int = 0
    delivery: str = ""
    submission: int = 1

    def call(self, action: str, attempt: int, delivery: str) -> None:
        ours = attempt == self.attempt
        running = self.state is JobState.PROCESSING
        if action == "claim":
            if self.state is JobState.PENDING or (running and delivery == self.delivery):
                self.state, self.attempt, self.delivery = JobState.PROCESSING, self.attempt + 1, delivery
        elif action == "cancel":
            if self.state not in FINISHED:
                self.state = JobState.CANCELLED
        elif action == "retry":
            if self.state in {JobState.FAILED, JobState.CANCELLED}:
                self.state, self.submission = JobState.PENDING, self.submission + 1
        elif action == "fail" and ours and self.state not in FINISHED:
            self.state = JobState.FAILED
        elif ours and running and action in {"complete", "release"}:
            self.state = JobState.COMPLETED if action == "complete" else JobState.PENDING


def call(jobs: JobStore, job: Job, action: str, attempt: int, delivery: str) -> None:
    ways = {
        "claim": lambda: jobs.claim(job.id, delivery),
        "progress": lambda: jobs.progress(job.id, attempt, 0.5),
        "complete": lambda: jobs.complete(job.id, attempt, OUTPUTS),
        "fail": lambda: jobs.fail(job.id, attempt, FAILURE),
        "release": lambda: jobs.release(job.id, attempt),
        "cancel": lambda: jobs.cancel(job.id),
        "retry": lambda: jobs.retry(job.id),
    }
    try:
        ways[action]()
    except LibraryError as error:
        if error.code not in {
            LibraryErrorCode.FENCED,
            LibraryErrorCode.CANCELLED,
            LibraryErrorCode.ILLEGAL_TRANSITION,
        }:
            raise


# Each example makes a job of its own in the same empty tables.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(calls, max_size=12))
def test_a_job_goes_through_any_history_by_the_rules(
    catalogue: Catalogue, history: list[tuple[str, int, str]]
):
    jobs = catalogue.jobs
    job = jobs.create(
        JOB_REQUEST.validate_python(
            {"kind": "trim", "source_key": f"{uuid4()}.mp4", "parameters": {"start_ms": 0, "end_ms": 1}}
        )
    )
    model = Model()
    for action, attempt, delivery in history:
        call(jobs, job, action, attempt, delivery)
        model.call(action, attempt, delivery)
    seen = jobs.get(job.id)
    assert (seen.state, seen.attempt, seen.submission) == (model.state, model.attempt, model.submission)
    assert (seen.outputs == OUTPUTS) == (seen.state is JobState.COMPLETED)
    assert (seen.error == FAILURE) == (seen.state is JobState.FAILED)
    assert (seen.progress == 1) == (seen.state is JobState.COMPLETED)
    events = jobs.events(job.id)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert (events[-1].state, events[-1].attempt) == (seen.state, seen.attempt)
    for before, after in pairwise(events):
        taken_over = after.attempt == before.attempt + 1 and after.state is before.state
        assert after.state in LEGAL[before.state] or (taken_over and after.state is JobState.PROCESSING)
        assert after.attempt >= before.attempt
        assert after.submission >= before.submission
