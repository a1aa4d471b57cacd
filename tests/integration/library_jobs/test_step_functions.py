"""Jobs by the state machine as it is deployed: its functions in AWS's emulator, two hosts, the library's own API."""

import pytest

from livedub.library.celery_executor import CeleryExecutor
from livedub.library.job_names import parts_prefix
from livedub.library.library_errors import LibraryErrorCode
from livedub.library.library_settings import LibrarySettings
from livedub.library.step_functions_client import StepFunctionsExecutor
from livedub.library.types import Job, JobState
from tests.integration.library_jobs.aws_rig import MediaJobs
from tests.integration.library_jobs.rig import Library, celery_worker, eventually

pytestmark = pytest.mark.slow

DONE = [(JobState.PENDING, 0, 1), (JobState.PROCESSING, 1, 1), (JobState.COMPLETED, 1, 1)]
IN_FUNCTION = ["RouteJob", "Where?", "RunInFunction", "ReportEnd", "How?", "Ended"]
ON_HOST = ["RouteJob", "Where?", "RunOnHost", "ReportEnd", "How?", "Ended"]
FAN_OUT = ["RouteJob", "Where?", "SplitDub", "DubRanges", "JoinParts", "ReportEnd", "How?", "Ended"]
SPANISH = {"source_language": "es", "targets": [{"language": "en"}]}


def executor(jobs: MediaJobs) -> StepFunctionsExecutor:
    return StepFunctionsExecutor(jobs.aws.machines, jobs.machine_arn)


def test_the_state_machine_and_celery_do_the_same(library: Library, machine: MediaJobs, broker_url: str):
    small, large, long = library.put_wav(2), library.put_wav(5), library.put_wav(32)

    def jobs(who: str) -> list[Job]:
        return [
            library.create("trim", small, {"start_ms": 500, "end_ms": 1_500}, f"{who}/small.wav"),
            library.create(
                "trim", large, {"start_ms": 50, "end_ms": 4_010, "exact": True}, f"{who}/large.wav"
            ),
            library.create("transcode", small, {"preset": "audio-only"}, f"{who}/sound.m4a"),
            library.create("dub", small, SPANISH, f"{who}/short.m4a"),
            library.create("dub", long, SPANISH, f"{who}/long.m4a"),
            library.create("trim", large, {"start_ms": 60_000, "end_ms": 61_000}, f"{who}/outside.wav"),
        ]

    by_machine = jobs("machine")
    for job in by_machine:
        executor(machine).submit(job)
    statuses = [machine.ended(job.id)["status"] for job in by_machine]
    assert statuses == ["SUCCEEDED"] * 5 + ["FAILED"]
    assert [machine.states(job.id) for job in by_machine[:5]] == [
        IN_FUNCTION,
        ON_HOST,
        ON_HOST,
        ON_HOST,
        FAN_OUT,
    ]
    by_celery = jobs("celery")
    queue = CeleryExecutor.connect(LibrarySettings.model_validate({"broker_url": broker_url}))
    with celery_worker(library, broker_url, slots=2):
        for job in by_celery:
            queue.submit(job)
        for job in by_celery:
            library.ended(job)
    for one, other in zip(by_machine, by_celery, strict=True):
        first, second = library.catalogue.jobs.get(one.id), library.catalogue.jobs.get(other.id)
        assert (first.state, first.error, first.attempt) == (second.state, second.error, second.attempt)
        assert library.story(one) == library.story(other)
        assert [each.sha256 for each in first.outputs] == [each.sha256 for each in second.outputs]
        for mine, theirs in zip(first.outputs, second.outputs, strict=True):
            assert library.output(mine.key) == library.output(theirs.key)
    assert {library.catalogue.jobs.get(job.id).state for job in by_machine[:5]} == {JobState.COMPLETED}
    assert not list(library.storage.list_objects(library.store.bucket_out, parts_prefix(by_machine[4].id)))


def test_a_source_that_is_not_there_fails_and_the_execution_with_it(library: Library, machine: MediaJobs):
    job = library.trim("no/such.wav", 0, 1_000, "bad.wav")
    executor(machine).submit(job)
    assert machine.ended(job.id)["status"] == "FAILED"
    failed = library.catalogue.jobs.get(job.id)
    assert failed.error is not None
    assert failed.error.code is LibraryErrorCode.NO_SUCH_KEY
    # A closed execution is the submission's own: nothing happens again.
    executor(machine).submit(job)
    assert library.catalogue.jobs.get(job.id) == failed


def test_a_cancelled_job_stops_everywhere(library: Library, machine: MediaJobs):
    job = library.create("dub", library.put_wav(40), SPANISH, "unwanted.m4a")
    executor(machine).submit(job)
    eventually(lambda: library.catalogue.jobs.get(job.id).state is JobState.PROCESSING, "the job's begin")
    executor(machine).cancel(library.catalogue.jobs.cancel(job.id))
    assert machine.ended(job.id)["status"] == "ABORTED"
    again = library.catalogue.jobs.retry(job.id)
    executor(machine).submit(again)
    assert machine.ended(job.id, submission=2)["status"] == "SUCCEEDED"
    assert library.catalogue.jobs.get(job.id).state is JobState.COMPLETED
