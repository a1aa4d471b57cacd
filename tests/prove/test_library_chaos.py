"""200 jobs submitted at once, workers killed at random: every job ends COMPLETED once, no output lost or doubled."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from livedub.database.embedded_postgres import postgres_server
from livedub.library.catalogue import connect_catalogue
from livedub.library.celery_executor import CeleryExecutor
from livedub.library.library_settings import LibrarySettings
from livedub.library.step_functions_client import StepFunctionsExecutor
from livedub.library.storage import LibraryStorage
from local.object_store import object_store
from local.redis_server import redis_server
from tests.integration.library_jobs.aws_rig import media_jobs
from tests.integration.library_jobs.rig import Library
from tests.integration.local_aws.rig import Aws, running_server
from tests.prove.library_chaos import (
    Workers,
    kill_until_all_have_ended,
    submit_all,
    verdict,
    workers_of,
)

Keep = Callable[[str, dict[str, Any]], None]
JOBS = 200
KILLS = 25
SEED = 20_261_121
BOUND_S = 400.0


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with (
        object_store(tmp_path / "objects") as store,
        postgres_server(tmp_path / "postgres", durable=False) as url,
        tempfile.TemporaryDirectory(dir=tmp_path) as work,
    ):
        catalogue = connect_catalogue(url)
        catalogue.database.migrate(wait_ms=30_000)
        yield Library(store, LibraryStorage(store.settings), catalogue, url, Path(work))
        catalogue.close()


def proven(library: Library, workers: Workers, jobs: list[Any]) -> dict[str, Any]:
    took_s = kill_until_all_have_ended(library, workers, jobs, kills=KILLS, bound_s=BOUND_S, seed=SEED)
    return {**verdict(library, jobs), "kills": workers.kills, "seconds": round(took_s, 1)}


def enough(figures: dict[str, Any]) -> None:
    """A quick machine is done before the last kill."""
    assert figures["kills"] >= KILLS // 2
    assert max(figures["attempts"]) > 1, "no kill hit a job at work"


@pytest.mark.prove
@pytest.mark.timeout(600)
def test_celerys_workers_are_killed_at_random(library: Library, keep: Keep):
    with redis_server() as broker_url:
        executor = CeleryExecutor.connect(LibrarySettings.model_validate({"broker_url": broker_url}))
        jobs = submit_all(library, executor, JOBS)
        executor.close()
        environment = {**library.environment, "LIBRARY_BROKER_URL": broker_url, "LIBRARY_JOB_SLOTS": "2"}
        with workers_of(library, "celery", environment) as workers:
            figures = proven(library, workers, jobs)
    enough(figures)
    keep("library_chaos_celery", figures)


@pytest.mark.prove
@pytest.mark.timeout(600)
def test_the_state_machines_hosts_are_killed_at_random(library: Library, keep: Keep):
    library.settings["LIBRARY_FUNCTION_MAX_BYTES"] = "0"
    with running_server() as server:
        machine = media_jobs(library, Aws(server.endpoint))
        executor = StepFunctionsExecutor(machine.aws.machines, machine.machine_arn)
        jobs = submit_all(library, executor, JOBS)
        environment = {**machine.environment, "LIBRARY_JOB_SLOTS": "2"}
        with workers_of(library, "host", environment) as workers:
            figures = proven(library, workers, jobs)
        ended = {machine.ended(job.id)["status"] for job in jobs}
    assert ended == {"SUCCEEDED"}
    enough(figures)
    keep("library_chaos_step_functions", figures)
