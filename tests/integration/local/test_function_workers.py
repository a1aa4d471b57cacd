"""Real processes around a handler."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from livedub.library.api.routes import OPENAPI_PATH
from local.function_workers import FunctionFailedError, FunctionWorkers
from local.ports import free_port
from local.processes import Supervisor, http_ready
from local.python_child import ROOT, python_spec

pytestmark = pytest.mark.slow

HANDLER = """
import os, time
from pathlib import Path

def handler(event, context):
    match event["do"]:
        case "raise":
            raise ValueError("odd")
        case "end":
            os._exit(3)
        case "wait":
            Path(event["begun"]).touch()
            while not Path(event["until"]).exists():
                time.sleep(0.01)
    return {"pid": os.getpid(), "name": context.function_name, "id": context.aws_request_id}
"""
BOUND_S = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    function = tmp_path / "odd_function"
    function.mkdir()
    (function / "handler.py").write_text(HANDLER)
    return function


async def ask(workers: FunctionWorkers, do: str, **more: str) -> dict[str, Any]:
    return json.loads(await asyncio.wait_for(workers.call({"do": do, **more}), BOUND_S))


def await_file(path: Path) -> None:
    deadline_s = time.monotonic() + BOUND_S
    while not path.exists():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


async def test_one_worker_keeps_its_process_and_survives_what_the_handler_raises(folder: Path):
    async with FunctionWorkers(folder, 1) as workers:
        first = await ask(workers, "answer")
        assert first["name"] == "odd_function"
        with pytest.raises(FunctionFailedError, match="ValueError: odd"):
            await ask(workers, "raise")
        again = await ask(workers, "answer")
    assert (again["pid"], again["id"] != first["id"]) == (first["pid"], True)


async def test_a_process_that_ends_is_replaced(folder: Path):
    async with FunctionWorkers(folder, 1) as workers:
        first = await ask(workers, "answer")
        with pytest.raises(FunctionFailedError, match="process ended"):
            await ask(workers, "end")
        assert (await ask(workers, "answer"))["pid"] != first["pid"]


async def test_a_long_call_holds_one_worker_and_the_other_answers(folder: Path, tmp_path: Path):
    begun, until = tmp_path / "begun", tmp_path / "until"
    async with FunctionWorkers(folder, 2) as workers:
        long = asyncio.create_task(ask(workers, "wait", begun=str(begun), until=str(until)))
        await asyncio.to_thread(await_file, begun)
        assert await ask(workers, "answer")
        until.touch()
        assert await long


async def test_a_call_given_up_holds_its_worker_until_it_is_done(folder: Path, tmp_path: Path):
    begun, until = tmp_path / "begun", tmp_path / "until"
    async with FunctionWorkers(folder, 1) as workers:
        given_up = asyncio.create_task(ask(workers, "wait", begun=str(begun), until=str(until)))
        await asyncio.to_thread(await_file, begun)
        given_up.cancel()
        await asyncio.wait([given_up])
        later = asyncio.create_task(ask(workers, "answer"))
        await asyncio.sleep(0)
        assert not later.done()
        until.touch()
        assert await later


async def test_the_library_s_function_answers_over_http_and_leaves_nobody(tmp_path: Path):
    port = free_port()
    spec = python_spec(
        "library-api", "local.function_front", str(ROOT / "functions/library_api"), "--port", str(port)
    )
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start(
            spec, ready=http_ready(f"http://127.0.0.1:{port}{OPENAPI_PATH}"), ready_timeout_s=BOUND_S
        )


def test_workers_end_when_their_parent_is_killed(folder: Path, tmp_path: Path):
    code = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom local.function_workers import FunctionWorkers\n"
        "async def main():\n"
        "    async with FunctionWorkers(Path(sys.argv[1]), 1) as workers:\n"
        "        print((await workers.call({'do': 'answer'})).decode(), flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "if __name__ == '__main__':\n    asyncio.run(main())\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    path = os.pathsep.join([str(ROOT), str(ROOT / "layers/core/python")])
    with subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    ) as parent:
        try:
            assert parent.stdout is not None
            worker = json.loads(parent.stdout.readline())["pid"]
        finally:
            parent.send_signal(signal.SIGKILL)
    deadline_s = time.monotonic() + BOUND_S
    while runs(worker):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def runs(pid: int) -> bool:
    """Whether it does; one that has ended and was reaped by nobody has no command line."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return False
