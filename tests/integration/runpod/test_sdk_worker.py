"""RunPod's worker loop as it comes, with a handler of its own, against the emulator; and what we never rely on."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.runpod.worker_api import worker_environment
from tests.contract.runpod_rig import ENDPOINT_ID, KEY, Process, RunpodRig, runpod_rig
from tests.integration.runpod.jobs import client, status, until

HANDLER = Path(__file__).with_name("generator_handler.py")
BOUND_S = 60


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunpodRig]:
    with runpod_rig(tmp_path_factory.mktemp("sdk-worker")) as made:
        yield made


@pytest.fixture(scope="module")
def worker(rig: RunpodRig) -> Iterator[Process]:
    env = worker_environment(rig.origin, ENDPOINT_ID, "theirs", KEY)
    process = Process(["tests.integration.runpod.generator_handler"], env)
    try:
        process.line("Starting Serverless Worker")
        yield process
    finally:
        process.kill()  # on SIGTERM it would ask for jobs until its poll ends


def test_jobs_stream_and_aggregate(rig: RunpodRig, worker: Process):
    with client(rig) as http:
        job_id = http.post("/run", json={"input": {"words": ["a", "b"]}}).json()["id"]
        done = status(http, job_id, "COMPLETED", "FAILED")
        assert done["output"] == [{"word": "a"}, {"word": "b"}]
        assert http.get(f"/stream/{job_id}").json()["stream"] == [
            {"output": {"word": "a"}},
            {"output": {"word": "b"}},
        ]


def test_a_cancelled_job_is_stopped_in_the_worker(rig: RunpodRig, worker: Process):
    with client(rig) as http:
        job_id = http.post("/run", json={"input": {"words": ["a"], "seconds": 3_600}}).json()["id"]
        worker.line(f"RUNNING {job_id}")
        assert http.post(f"/cancel/{job_id}").json()["status"] == "CANCELLED"
        worker.line(f"STOPPED {job_id}")
        until(http, "/health", lambda health: health["workers"]["running"] == 0)


def test_a_handler_that_fails_fails_its_job_with_the_traceback(rig: RunpodRig, worker: Process):
    with client(rig) as http:
        failed = http.post("/runsync", json={"input": {"no": "words"}}).json()
        assert failed["status"] == "FAILED"
        assert "KeyError" in failed["error"]


def test_its_local_test_passes_a_generator_without_running_it(tmp_path: Path):
    """Why nothing here relies on `--test_input`: this job has no words, and would fail if the handler ran."""
    done = subprocess.run(
        [sys.executable, str(HANDLER), "--test_input", '{"input": {"no": "words"}}'],
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0
    assert "async_generator object" in done.stdout
    assert "RUNNING" not in done.stdout
