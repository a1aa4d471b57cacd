"""A long dub on one host, and divided among many by the state machine: the same bytes, in a fraction of the time.

The speech service takes its time for every fragment, as a GPU would; that time is what many hosts share.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from livedub.database.embedded_postgres import postgres_server
from livedub.library.catalogue import connect_catalogue
from livedub.library.step_functions_client import StepFunctionsExecutor
from livedub.library.storage import LibraryStorage
from livedub.library.types import Job, JobState
from local.object_store import object_store
from tests.integration.library_jobs.aws_rig import MediaJobs, host_worker, media_jobs
from tests.integration.library_jobs.rig import Library, mock_service
from tests.integration.local_aws.rig import Aws, running_server

Keep = Callable[[str, dict[str, Any]], None]
MINUTES = 5
HOSTS = 4
FRAGMENT_MS = 1_000


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with (
        object_store(tmp_path / "objects") as store,
        postgres_server(tmp_path / "postgres", durable=False) as url,
        tempfile.TemporaryDirectory(dir=tmp_path) as work,
        mock_service(tmp_path, STS_MOCK_DELAY_MS=str(FRAGMENT_MS), STS_MAX_CONCURRENCY="32") as sts_url,
    ):
        catalogue = connect_catalogue(url)
        catalogue.database.migrate(wait_ms=30_000)
        settings = {"STS_SERVICE_URL": sts_url, "LIBRARY_DUB_RANGE_S": "15", "LIBRARY_DUB_SEPARATES": "false"}
        yield Library(store, LibraryStorage(store.settings), catalogue, url, Path(work), settings=settings)
        catalogue.close()


def dubbed(library: Library, jobs: MediaJobs, key: str, name: str) -> tuple[Job, float]:
    """The job of a dub once it has ended, and how long it took."""
    parameters = {"source_language": "es", "targets": [{"language": "en"}]}
    job = library.create("dub", key, parameters, name)
    began = time.monotonic()
    StepFunctionsExecutor(jobs.aws.machines, jobs.machine_arn).submit(job)
    done = library.ended(job, bound_s=400)
    return done, time.monotonic() - began


@pytest.mark.prove
@pytest.mark.timeout(900)
def test_many_hosts_dub_a_file_in_a_fraction_of_the_time(library: Library, keep: Keep):
    key = library.put_wav(MINUTES * 60)
    with ExitStack() as held:
        aws = Aws(held.enter_context(running_server()).endpoint)
        whole = media_jobs(library, aws, LIBRARY_FAN_OUT_MIN_S="0")
        divided = media_jobs(library, aws, LIBRARY_FAN_OUT_MIN_S="60")
        with host_worker(library, whole, label="alone", slots=1):
            one, one_s = dubbed(library, whole, key, "whole.m4a")
        for number in range(HOSTS):
            held.enter_context(host_worker(library, divided, label=f"host-{number}", slots=2))
        other, other_s = dubbed(library, divided, key, "divided.m4a")
        assert divided.ended(other.id)["status"] == "SUCCEEDED"
        assert "DubRanges" in divided.states(other.id)
    assert (one.state, other.state) == (JobState.COMPLETED, JobState.COMPLETED)
    assert [output.sha256 for output in one.outputs] == [output.sha256 for output in other.outputs]
    figures = {
        "media_s": MINUTES * 60,
        "service_ms_per_fragment": FRAGMENT_MS,
        "one_host_s": round(one_s, 1),
        "hosts": HOSTS,
        "ranges_at_once": 2 * HOSTS,
        "divided_s": round(other_s, 1),
    }
    keep("library_fan_out", figures)
    assert other_s < one_s, figures
