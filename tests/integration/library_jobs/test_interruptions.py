"""A job is cancelled, or its worker killed, while ffmpeg is at work: by Celery's workers and by the state machine's hosts."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import pytest

from livedub.library.celery_executor import CeleryExecutor
from livedub.library.executor import Executor
from livedub.library.library_settings import LibrarySettings
from livedub.library.step_functions_client import StepFunctionsExecutor
from livedub.library.types import Job, JobState
from local.redis_server import redis_server
from tests.integration.library_jobs.aws_rig import host_worker, media_jobs
from tests.integration.library_jobs.rig import Library, celery_worker, eventually

pytestmark = pytest.mark.slow


@dataclass
class Runner:
    """An executor, and how to start one of its workers."""

    library: Library
    executor: Executor
    start: Callable[[str], Popen[bytes]]

    def submit(self) -> Job:
        job = self.library.create("transcode", self.library.put_wav(), {"preset": "audio-only"}, "sound.m4a")
        self.executor.submit(job)
        return job


@pytest.fixture(params=["celery", "host"])
def runner(request: pytest.FixtureRequest, own_library: Library) -> Iterator[Runner]:
    with ExitStack() as held:
        if request.param == "celery":
            url = held.enter_context(redis_server())
            executor = CeleryExecutor.connect(LibrarySettings.model_validate({"broker_url": url}))
            held.callback(executor.close)

            def celery(name: str) -> Popen[bytes]:
                return held.enter_context(celery_worker(own_library, url, name=name))

            yield Runner(own_library, executor, celery)
        else:
            jobs = media_jobs(own_library, request.getfixturevalue("aws"))

            def host(name: str) -> Popen[bytes]:
                return held.enter_context(host_worker(own_library, jobs, label=name, slots=1))

            yield Runner(own_library, StepFunctionsExecutor(jobs.aws.machines, jobs.machine_arn), host)


def endless_ffmpeg(folder: Path) -> tuple[Path, Path]:
    """A program that says its process id and then nothing any more; and where it says it."""
    program, pid_file = folder / "endless-ffmpeg", folder / "endless.pid"
    program.write_text(
        f"#!/bin/sh\necho $$ > {pid_file}.new\nmv {pid_file}.new {pid_file}\nexec sleep 1000\n"
    )
    program.chmod(0o755)
    return program, pid_file


def has_ended(pid: int) -> bool:
    try:
        # A killed one stays a zombie until its parent, or init, has looked at it.
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_cancelled_job_ends_its_ffmpeg_and_leaves_nothing(runner: Runner, tmp_path: Path):
    library = runner.library
    program, pid_file = endless_ffmpeg(tmp_path)
    library.settings["LIBRARY_FFMPEG"] = str(program)
    work = tmp_path / "work"
    library.settings["LIBRARY_WORK_DIR"] = str(work)
    runner.start("worker")
    job = runner.submit()
    pid = int(eventually(lambda: pid_file.exists() and pid_file.read_text(), "ffmpeg's start"))
    runner.executor.cancel(library.catalogue.jobs.cancel(job.id))
    eventually(lambda: has_ended(pid), "ffmpeg's end")
    eventually(lambda: not list(work.iterdir()), "an empty work folder")
    assert library.catalogue.jobs.get(job.id).state is JobState.CANCELLED
    assert library.written() == []


def test_a_killed_workers_job_is_done_by_another_one(runner: Runner, tmp_path: Path):
    library = runner.library
    program, pid_file = endless_ffmpeg(tmp_path)
    library.settings["LIBRARY_FFMPEG"] = str(program)
    first = runner.start("first")
    job = runner.submit()
    pid = int(eventually(lambda: pid_file.exists() and pid_file.read_text(), "ffmpeg's start"))
    os.killpg(first.pid, signal.SIGKILL)
    eventually(lambda: has_ended(pid), "ffmpeg's end with its worker")
    del library.settings["LIBRARY_FFMPEG"]
    runner.start("second")
    done = library.ended(job, bound_s=100)
    assert (done.state, done.attempt) == (JobState.COMPLETED, 2)
    states = [(state, attempt) for state, attempt, _ in library.story(job)]
    assert states == [
        (JobState.PENDING, 0),
        (JobState.PROCESSING, 1),
        (JobState.PROCESSING, 2),
        (JobState.COMPLETED, 2),
    ]
