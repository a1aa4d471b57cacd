"""How soon a cancelled job's ffmpeg is gone, and how fast jobs pass; figures go to build/bench/library_jobs.json."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from livedub.database.embedded_postgres import postgres_server
from livedub.library.catalogue import connect_catalogue
from livedub.library.celery_executor import CeleryExecutor
from livedub.library.executor import Executor
from livedub.library.library_settings import LibrarySettings
from livedub.library.step_functions_client import StepFunctionsExecutor
from livedub.library.storage import LibraryStorage
from local.object_store import object_store
from local.redis_server import redis_server
from tests.bench.machine_load import machine
from tests.integration.library_jobs.aws_rig import host_worker, media_jobs
from tests.integration.library_jobs.rig import Library, celery_worker, eventually
from tests.integration.library_jobs.test_interruptions import endless_ffmpeg, has_ended
from tests.integration.local_aws.rig import Aws, running_server

pytestmark = [pytest.mark.bench, pytest.mark.timeout(400)]

CANCEL_BAR_S = 2.0
CANCELLATIONS = 12
JOBS = 100
RESULT_PATH = Path(__file__).resolve().parents[2] / "build/bench/library_jobs.json"
DEFAULTS = {"LIBRARY_JOB_LEASE_S": "20", "LIBRARY_JOB_BEAT_S": "1"}


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with (
        object_store(tmp_path / "objects") as store,
        postgres_server(tmp_path / "postgres", durable=False) as url,
        tempfile.TemporaryDirectory(dir=tmp_path) as work,
    ):
        catalogue = connect_catalogue(url)
        catalogue.database.migrate(wait_ms=30_000)
        yield Library(
            store, LibraryStorage(store.settings), catalogue, url, Path(work), settings=dict(DEFAULTS)
        )
        catalogue.close()


def cancel_s(library: Library, executor: Executor, pid_file: Path) -> list[float]:
    """Seconds from each cancellation to the end of its ffmpeg."""
    source = library.put_wav()
    taken: list[float] = []
    for number in range(CANCELLATIONS):
        job = library.create("transcode", source, {"preset": "audio-only"}, f"{number}.m4a")
        executor.submit(job)
        pid = int(eventually(lambda: pid_file.exists() and pid_file.read_text(), "ffmpeg's start"))
        # Anywhere between two beats.
        time.sleep(number / CANCELLATIONS)
        began = time.monotonic()
        executor.cancel(library.catalogue.jobs.cancel(job.id))
        eventually(lambda pid=pid: has_ended(pid), "ffmpeg's end")
        taken.append(time.monotonic() - began)
        pid_file.unlink()
    return taken


def jobs_per_s(library: Library, executor: Executor) -> float:
    """Small trims, submitted at once."""
    source = library.put_wav()
    began = time.monotonic()
    jobs = [library.trim(source, 100, 1_100, f"pass-{number}.wav") for number in range(JOBS)]
    for job in jobs:
        executor.submit(job)
    for job in jobs:
        library.ended(job, bound_s=200)
    return JOBS / (time.monotonic() - began)


def test_a_cancelled_jobs_ffmpeg_is_gone_within_two_seconds(library: Library, tmp_path: Path):
    program, pid_file = endless_ffmpeg(tmp_path)
    library.settings.update({"LIBRARY_FFMPEG": str(program), "LIBRARY_FUNCTION_MAX_BYTES": "0"})
    figures: dict[str, object] = {"machine": machine()}
    slowest: list[float] = []
    for name in ("celery", "stepfunctions"):
        with ExitStack() as held:
            if name == "celery":
                url = held.enter_context(redis_server())
                executor = CeleryExecutor.connect(LibrarySettings.model_validate({"broker_url": url}))
                held.enter_context(celery_worker(library, url, slots=2))
            else:
                aws = Aws(held.enter_context(running_server()).endpoint)
                jobs = media_jobs(library, aws)
                executor = StepFunctionsExecutor(aws.machines, jobs.machine_arn)
                held.enter_context(host_worker(library, jobs, slots=2))
            taken = cancel_s(library, executor, pid_file)
            figures[name] = {
                "cancel_p50_s": round(statistics.median(taken), 2),
                "cancel_max_s": round(max(taken), 2),
                "jobs_per_s": round(jobs_per_s(library, executor), 1),
            }
            slowest.append(max(taken))
        library.prefix += "x"
    RESULT_PATH.parent.mkdir(parents=True, exist_ok=True)
    RESULT_PATH.write_text(json.dumps(figures, indent=2) + "\n")
    assert max(slowest) < CANCEL_BAR_S, figures
