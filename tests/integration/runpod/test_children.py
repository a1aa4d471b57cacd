"""The endpoint as children of the local stack."""

import os
import stat
from pathlib import Path

import pytest

from local.processes import ProcessError, Supervisor
from local.runpod.child import start_emulator, start_worker

pytestmark = pytest.mark.slow


def arguments_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


async def test_an_emulator_and_a_worker_start_and_stop(tmp_path: Path):
    async with Supervisor(tmp_path / "logs") as supervisor:
        emulator = await start_emulator(supervisor, tmp_path / "run")
        key_file = tmp_path / "run" / "runpod.key"
        assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
        assert key_file.read_text() == emulator.key
        worker = await start_worker(
            supervisor, emulator, settings={"STS_PROFILE": "mock", "STS_API_KEY": None}, niceness=1
        )
        for child in (emulator.process, worker):
            assert emulator.key not in arguments_of(child.pid)
        assert os.getpriority(os.PRIO_PROCESS, worker.pid) == os.getpriority(os.PRIO_PROCESS, 0) + 1
        assert await supervisor.stop(worker) == 0
        assert await supervisor.stop(emulator.process) == 0
    assert emulator.key.encode() not in (tmp_path / "logs" / "sts.log").read_bytes()
    assert emulator.key.encode() not in (tmp_path / "logs" / "runpod.log").read_bytes()


async def test_a_worker_that_cannot_work_is_an_error_with_its_cause(tmp_path: Path):
    async with Supervisor(tmp_path / "logs") as supervisor:
        emulator = await start_emulator(supervisor, tmp_path / "run")
        settings = {"STS_PROFILE": "cpu", "STS_MODEL_DIR": str(tmp_path / "none")}
        with pytest.raises(ProcessError, match=r"cannot work.*livedub models fetch"):
            await start_worker(supervisor, emulator, settings=settings)
        assert supervisor.children == (emulator.process,)
