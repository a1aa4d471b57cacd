"""Jobs by the state machine as it is deployed: its functions in AWS's emulator, a host, the library's own API."""

import pytest

from livedub.library.library_errors import LibraryErrorCode
from livedub.library.step_functions_client import StepFunctionsExecutor
from livedub.library.types import JobState
from tests.integration.library_jobs.aws_rig import MediaJobs, host_worker, media_jobs
from tests.integration.library_jobs.rig import Library

pytestmark = pytest.mark.slow

DONE = [(JobState.PENDING, 0, 1), (JobState.PROCESSING, 1, 1), (JobState.COMPLETED, 1, 1)]


def executor(jobs: MediaJobs) -> StepFunctionsExecutor:
    return StepFunctionsExecutor(jobs.aws.machines, jobs.machine_arn)


def test_a_small_file_is_done_in_a_function(library: Library):
    key = library.put_wav()
    good = library.catalogue.jobs.create(library.trim(key, 500, 1_500, "good.wav"))
    bad = library.catalogue.jobs.create(library.trim("no/such.wav", 0, 1_000, "bad.wav"))
    with media_jobs(library) as jobs:
        queue = executor(jobs)
        for job in (good, good, bad):
            queue.submit(job)
        assert jobs.ended(good.id)["status"] == "SUCCEEDED"
        assert jobs.states(good.id) == ["RouteJob", "Where?", "RunInFunction", "ReportEnd", "How?", "Ended"]
        assert jobs.ended(bad.id)["status"] == "FAILED"
        # A closed execution is the submission's own: nothing happens again.
        queue.submit(good)
    assert library.story(good) == DONE
    failed = library.catalogue.jobs.get(bad.id)
    assert failed.error is not None
    assert failed.error.code is LibraryErrorCode.NO_SUCH_KEY


def test_a_large_file_is_done_on_a_host(library: Library):
    key = library.put_wav()
    job = library.catalogue.jobs.create(library.trim(key, 500, 1_500, "good.wav"))
    with media_jobs(library, LIBRARY_FUNCTION_MAX_BYTES="1000") as jobs, host_worker(library, jobs):
        executor(jobs).submit(job)
        assert jobs.ended(job.id)["status"] == "SUCCEEDED"
        assert jobs.states(job.id) == ["RouteJob", "Where?", "RunOnHost", "ReportEnd", "How?", "Ended"]
    assert library.story(job) == DONE
