"""`python -m gpu_handler runpod` with RunPod's real worker loop: its life, from start-up failure to drain."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.python_child import ROOT
from local.runpod.worker_api import worker_environment
from tests.contract.runpod_rig import ENDPOINT_ID, KEY, Process, RunpodRig, runpod_rig
from tests.integration.runpod.jobs import client, fragment, result_in, status, until

pytestmark = pytest.mark.slow

STALL = {"STS_MOCK_SCRIPT": "100-199:delay:60000,200-299:delay:1500"}
"""Numbers from 100 take longer than any test waits, those from 200 a while."""
PATIENT = {"deadline_ms": 120_000}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[RunpodRig]:
    with runpod_rig(tmp_path) as made:
        yield made


@pytest.fixture
def impatient_rig(tmp_path: Path) -> Iterator[RunpodRig]:
    """Its queue gives a worker up that has not been heard for 5 s; they speak every second."""
    with runpod_rig(tmp_path, "--worker-silence-s", "5") as made:
        yield made


def in_hand(worker: Process, job_id: str) -> None:
    """Wait until the worker has a job: what the queue calls IN_PROGRESS may still be on its way to it."""
    worker.line(f"job {job_id} is in hand")


def test_a_cancelled_job_frees_its_slot(rig: RunpodRig):
    rig.start_worker(STS_MAX_CONCURRENCY="1", **STALL)
    with client(rig) as http:
        stuck = http.post("/run", json={"input": fragment(100, **PATIENT)}).json()["id"]
        status(http, stuck, "IN_PROGRESS")
        waiting = http.post("/run", json={"input": fragment(1, **PATIENT)}).json()["id"]
        assert status(
            http, waiting, "IN_QUEUE"
        )  # the worker has one slot, and asks for no more than it can do
        http.post(f"/cancel/{stuck}")
        done = status(http, waiting, "COMPLETED")
        assert result_in(done["output"]).error is None


def test_sigterm_lets_jobs_end_and_takes_no_more(rig: RunpodRig):
    worker = rig.start_worker(STS_MAX_CONCURRENCY="2", **STALL)
    with client(rig) as http:
        first = http.post("/run", json={"input": fragment(200, **PATIENT)}).json()["id"]
        in_hand(worker, first)
        worker.terminate()
        until(http, "/health", lambda health: health["jobs"]["completed"] == 1)
        assert result_in(status(http, first, "COMPLETED")["output"]).error is None
        assert worker.wait() == 0
        second = http.post("/run", json={"input": fragment(2, **PATIENT)}).json()["id"]
        assert status(http, second, "IN_QUEUE")
        rig.start_worker("worker-2")
        assert status(http, second, "COMPLETED")["workerId"] == "worker-2"


def test_an_idle_worker_stops_at_once(rig: RunpodRig):
    worker = rig.start_worker()
    worker.terminate()
    assert worker.wait(timeout_s=10) == 0  # not when its request for jobs ends, which takes 20 s


def test_sigterm_answers_what_takes_too_long(rig: RunpodRig):
    worker = rig.start_worker(**STALL)
    with client(rig) as http:
        job_id = http.post("/run", json={"input": fragment(100, **PATIENT)}).json()["id"]
        in_hand(worker, job_id)
        worker.terminate()
        assert worker.wait(timeout_s=20) == 0
        error = result_in(status(http, job_id, "COMPLETED")["output"]).error
        assert error is not None
        assert (error.code.value, error.retryable) == ("MODEL_ERROR", True)
        assert "shutting down" in error.message


def test_the_job_of_a_worker_that_was_killed_goes_to_another(impatient_rig: RunpodRig):
    worker = impatient_rig.start_worker("doomed", **STALL)
    with client(impatient_rig) as http:
        job_id = http.post("/run", json={"input": fragment(100, **PATIENT)}).json()["id"]
        in_hand(worker, job_id)
        os.kill(worker.pid, 9)  # that process alone: its heartbeat must not speak for it
        impatient_rig.start_worker("heir")
        done = status(http, job_id, "COMPLETED")
        assert (done["workerId"], done["retries"]) == ("heir", 1)
        assert http.get("/health").json()["jobs"]["retried"] == 1


def test_a_missing_model_keeps_the_worker_and_is_told_to_every_job(rig: RunpodRig, tmp_path: Path):
    worker = rig.start_worker(
        ready="STS cannot work", STS_PROFILE="cpu", STS_MODEL_DIR=str(tmp_path / "empty")
    )
    with client(rig) as http:
        for number in range(2):
            done = http.post("/runsync", json={"input": fragment(number)}).json()
            error = result_in(done["output"]).error
            assert error is not None
            assert (error.code.value, error.retryable) == ("MODEL_ERROR", False)
            assert "livedub models fetch" in error.message
    worker.terminate()
    assert worker.wait() == 0


def test_a_wrong_setting_keeps_the_worker_and_is_told_to_every_job(rig: RunpodRig):
    rig.start_worker(ready="STS cannot work", STS_MAX_CONCURRENCY="none")
    with client(rig) as http:
        error = result_in(http.post("/runsync", json={"input": fragment()}).json()["output"]).error
        assert error is not None
        assert not error.retryable
        assert "STS_MAX_CONCURRENCY" in error.message


def test_a_worker_without_its_gpu_stays_and_says_so(rig: RunpodRig, tmp_path: Path):
    (tmp_path / "bin").mkdir()
    smi = tmp_path / "bin" / "nvidia-smi"
    smi.write_text("#!/bin/sh\nexit 9\n")
    smi.chmod(0o755)
    rig.start_worker(
        ready="STS cannot work",
        STS_PROFILE="cpu",
        STS_TRANSCRIBER="mock",
        STS_SYNTHESIZER="mock",
        STS_MT_DEVICE="cuda",
        PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}",
    )
    with client(rig) as http:
        error = result_in(http.post("/runsync", json={"input": fragment()}).json()["output"]).error
        assert error is not None
        assert "no GPU" in error.message


def test_what_a_restart_may_mend_ends_the_worker(rig: RunpodRig, tmp_path: Path):
    env = worker_environment(rig.origin, ENDPOINT_ID, "crash", KEY) | {"STS_PROFILE": "mock"}
    program = tmp_path / "crash.py"
    program.write_text(
        "from gpu_handler import pipeline\n"
        "def load(self):\n    raise OSError('the volume went away')\n"
        "pipeline.Pipeline.load = load\n"
        "import sys\nfrom gpu_handler.__main__ import main\nsys.exit(main(['runpod']))\n"
    )
    done = subprocess.run(
        [sys.executable, str(program)],
        env={**os.environ, **{k: v for k, v in env.items() if v}, "PYTHONPATH": _path()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "the volume went away" in done.stderr


def test_a_broken_cuda_context_answers_its_job_and_asks_for_a_new_worker(rig: RunpodRig):
    env = worker_environment(rig.origin, ENDPOINT_ID, "gpu", KEY)
    worker = Process(["tests.integration.runpod.broken_device_worker"], env)
    try:
        rig.emulator.line("worker gpu is here")
        with client(rig) as http:
            fine = http.post("/runsync", json={"input": fragment(12)}).json()
            assert result_in(fine["output"]).error is None
            broken = http.post("/runsync", json={"input": fragment(13)}).json()
            error = result_in(broken["output"]).error
            assert error is not None
            assert error.retryable
            rig.emulator.line("worker gpu asks to be replaced")
            assert worker.wait() == 1
            assert http.get("/health").json()["workers"]["ready"] == 0
    finally:
        worker.stop()


def test_no_key_and_no_audio_are_logged(rig: RunpodRig):
    worker = rig.start_worker(STS_API_KEY="key-for-callers")
    work = fragment()
    with client(rig) as http:
        http.post("/runsync", json={"input": work})
        job_id = http.post("/run", json={"input": work}).json()["id"]
        status(http, job_id, "COMPLETED")
    worker.terminate()
    worker.wait()
    for output in (worker.output, rig.emulator.output):
        assert KEY not in output
        assert "key-for-callers" not in output
        assert work["audio"]["data_base64"][1_000:1_100] not in output
    arguments = Path(f"/proc/{rig.emulator.pid}/cmdline").read_text()
    assert KEY not in arguments


def test_a_key_of_the_runpod_command_line_is_not_presented(rig: RunpodRig, tmp_path: Path):
    (tmp_path / ".runpod").mkdir()
    (tmp_path / ".runpod" / "config.toml").write_text('[default]\napi_key = "of-the-user"\n')
    rig.start_worker(HOME=str(tmp_path))
    with client(rig) as http:
        assert http.post("/runsync", json={"input": fragment()}).json()["status"] == "COMPLETED"


@pytest.mark.parametrize("arguments", [[], ["runpod"], ["--test_input", '{"input": {}}']])
def test_without_a_queue_nothing_is_run(tmp_path: Path, arguments: list[str]):
    (tmp_path / "test_input.json").write_text('{"input": {"n": 1}}')
    env = {name: value for name, value in os.environ.items() if not name.startswith("RUNPOD_")}
    done = subprocess.run(
        [sys.executable, "-m", "gpu_handler", *arguments],
        env={**env, "PYTHONPATH": _path(), "STS_PROFILE": "mock"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "error:" in done.stderr


def _path() -> str:
    return os.pathsep.join([str(ROOT), str(ROOT / "layers" / "core" / "python")])
