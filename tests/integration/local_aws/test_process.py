"""The local AWS as a process, and one environment by itself: nothing of either stays behind, however it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local.aws.function_spec import FunctionSpec
from local.aws.lambda_environment import EnvironmentStartError, LambdaEnvironment
from local.aws.settings import LocalAwsSettings
from local.aws.spawner import Spawner
from tests.integration.local_aws.rig import BOUND_S, ROOT, Aws, eventually, running_server

WHO = "import os\ndef handler(event, context):\n    return [os.getpid(), os.getppid()]\n"
HANG = "import os, threading\ndef handler(event, context):\n    threading.Event().wait()\n"


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"  # a zombie runs nothing; whoever adopted it has not looked yet


def all_gone(pids: list[int]) -> bool:
    return not any(alive(pid) for pid in pids)


@pytest.mark.parametrize(
    "how", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGKILL]
)
def test_the_end_of_the_server_is_the_end_of_its_functions(tmp_path: Path, how: signal.Signals):
    with running_server(temporary=tmp_path) as server:
        aws = Aws(server.endpoint)
        runtime_pid, emulator_pid = aws.call(aws.make_function(WHO))[0]
        assert alive(runtime_pid)
        assert alive(emulator_pid)
        server.process.send_signal(how)
        assert server.process.wait(BOUND_S) == (-how if how is signal.SIGKILL else 0)
    eventually(lambda: all_gone([runtime_pid, emulator_pid]), "the end of the function's processes")
    if how is not signal.SIGKILL:
        assert list(tmp_path.glob("livedub-aws-*")) == []


def test_a_call_in_progress_does_not_hold_the_end_up(tmp_path: Path):
    with running_server(temporary=tmp_path) as server, ThreadPoolExecutor(1) as threads:
        aws = Aws(server.endpoint)
        queue = aws.make_queue()
        source = HANG.replace(
            "    threading",
            f"    import boto3; boto3.client('sqs').send_message(QueueUrl={queue!r}, MessageBody=str(os.getpid()))\n"
            "    threading",
        )
        call = threads.submit(aws.call, aws.make_function(source, Timeout=600))
        runtime_pid = int(aws.message(queue))
        server.process.terminate()
        assert server.process.wait(BOUND_S) == 0  # the function alone would go on for 600 s
        assert call.exception(BOUND_S) is not None or call.result()[1] == "Unhandled"
    eventually(lambda: not alive(runtime_pid), "the end of the runtime")


@pytest.mark.slow
def test_what_a_killed_server_left_goes_with_the_next(tmp_path: Path):
    with running_server(temporary=tmp_path) as killed:
        killed.process.kill()
        killed.process.wait(BOUND_S)
    (left,) = tmp_path.glob("livedub-aws-*")
    with running_server(temporary=tmp_path):
        assert not left.exists()


@pytest.mark.slow
def test_a_taken_port_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "local.aws", "--port", str(port)],
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'layers/core/python'}"},
            capture_output=True,
            text=True,
            timeout=BOUND_S,
            check=False,
        )
    assert done.returncode == 1
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def spawner() -> Iterator[Spawner]:
    with Spawner() as running:
        yield running


def start(spawner: Spawner, folder: Path, source: str, **more: object) -> LambdaEnvironment:
    folder.mkdir()
    (folder / "app.py").write_text(source)
    spec = FunctionSpec("f", "app.handler", folder, **{"timeout_s": 600, **more})
    emulator = LocalAwsSettings().require_emulator()
    return LambdaEnvironment(spec, emulator=emulator, spawner=spawner, scratch=folder.parent)


def test_an_environment_needs_no_server_and_leaves_nothing(spawner: Spawner, tmp_path: Path):
    environment = start(spawner, tmp_path / "code", WHO)
    try:
        result = environment.invoke(b"{}")
        assert not result.failed
        assert environment.alive
    finally:
        environment.kill()
    assert not environment.alive
    pids = [int(pid) for pid in result.payload.decode().strip("[]").split(",")]
    eventually(lambda: all_gone(pids), "the end of its processes")
    assert [one.name for one in tmp_path.iterdir()] == ["code"]


@pytest.mark.parametrize("victim", ["emulator", "runtime", "environment"])
def test_killing_an_environment_in_a_call_is_an_error_of_the_call(
    spawner: Spawner, tmp_path: Path, victim: str
):
    pid_file = tmp_path / "pid"
    source = HANG.replace(
        "    threading",
        f"    open({str(pid_file)!r} + '.new', 'w').write(str(os.getpid()))\n"
        f"    os.rename({str(pid_file)!r} + '.new', {str(pid_file)!r})\n    threading",
    )
    environment = start(spawner, tmp_path / "code", source)
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(environment.invoke, b"{}")
        eventually(pid_file.exists, "the call's begin")
        runtime_pid = int(pid_file.read_text())
        {
            "emulator": lambda: os.kill(environment.pid, signal.SIGKILL),
            "runtime": lambda: os.kill(runtime_pid, signal.SIGKILL),
            "environment": environment.kill,
        }[victim]()
        result = call.result(BOUND_S)
    environment.kill()
    assert result.failed
    assert not result.reusable
    assert b"Runtime.ExitError" in result.payload
    eventually(lambda: not alive(runtime_pid), "the end of the runtime")


def test_environments_started_in_threads_that_end_live_on(spawner: Spawner, tmp_path: Path):
    made: list[LambdaEnvironment] = []
    thread = threading.Thread(target=lambda: made.append(start(spawner, tmp_path / "code", WHO)))
    thread.start()
    thread.join(BOUND_S)
    (environment,) = made
    try:
        assert not environment.invoke(b"{}").failed
    finally:
        environment.kill()


def test_an_emulator_that_does_not_start_is_named(spawner: Spawner, tmp_path: Path):
    spec = FunctionSpec("f", "app.handler", tmp_path)
    with pytest.raises(EnvironmentStartError, match="Lambda function f"):
        LambdaEnvironment(spec, emulator=Path("/bin/false"), spawner=spawner, scratch=tmp_path)
    assert list(tmp_path.iterdir()) == []
