"""RunPod's queue with real workers (`python -m gpu_handler runpod`) behind it, as processes of the test."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from local.python_child import ROOT
from local.runpod.worker_api import worker_environment

ENDPOINT_ID = "sts"
KEY = "key-of-the-runpod-rig"
_START_BOUND_S = 60.0
_STOP_BOUND_S = 30.0
_SOURCES = (ROOT, ROOT / "layers" / "core" / "python")


class Process:
    """A child that dies with us; its lines are read by a thread, so that it never blocks on them."""

    def __init__(self, arguments: list[str], env: Mapping[str, str | None]) -> None:
        merged = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, _SOURCES)), "PYTHONUNBUFFERED": "1"}
        merged |= {name: value for name, value in env.items() if value is not None}
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=merged,
            start_new_session=True,
        )
        self._changed = threading.Condition()
        self._lines: list[str] = []
        self._over = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.poll()

    @property
    def output(self) -> str:
        with self._changed:
            return "\n".join(self._lines)

    def line(self, pattern: str, timeout_s: float = _START_BOUND_S) -> str:
        """The first line, past or coming, that `pattern` matches."""
        expression = re.compile(pattern)

        def found() -> bool:
            return self._over or any(map(expression.search, self._lines))

        with self._changed:
            self._changed.wait_for(found, timeout_s)
            for line in self._lines:
                if expression.search(line):
                    return line
        raise AssertionError(f"no line matches {pattern!r} in {timeout_s} s:\n{self.output}")

    def kill(self) -> None:
        """End it without warning, and what it started with it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(_STOP_BOUND_S)

    def terminate(self) -> None:
        """Ask it to stop."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float = _STOP_BOUND_S) -> int:
        return self._process.wait(timeout_s)

    def stop(self) -> None:
        """Ask it to stop, then make it."""
        if self._process.poll() is None:
            self.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_BOUND_S)
        self.kill()
        self._reader.join(_STOP_BOUND_S)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                with self._changed:
                    self._lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._over = True
            self._changed.notify_all()


class RunpodRig:
    """A running emulator. `url` is what STS_RUNPOD_BASE_URL wants, `address` what STS_SERVICE_URL wants."""

    endpoint_id = ENDPOINT_ID
    key = KEY
    address = f"runpod://{ENDPOINT_ID}"

    def __init__(self, folder: Path, *options: str) -> None:
        self._children: list[Process] = []
        key_file = folder / "key"
        key_file.write_text(KEY)
        self.emulator = Process(
            ["local.runpod", "--endpoint", ENDPOINT_ID, "--api-key-file", str(key_file), *options], {}
        )
        self._children.append(self.emulator)
        self.origin = ""

    @property
    def url(self) -> str:
        return f"{self.origin}/v2"

    def start(self) -> None:
        self.origin = json.loads(self.emulator.line('"event": "ready"'))["url"]

    def start_worker(
        self, worker_id: str = "worker-1", *, ready: str = "STS ready", **settings: str
    ) -> Process:
        """Start a worker with engines that pretend, and wait until it works and asks for jobs."""
        env = {
            **worker_environment(self.origin, ENDPOINT_ID, worker_id, KEY),
            "STS_PROFILE": "mock",
            "RUNPOD_PING_INTERVAL": "1000",
            **settings,
        }
        worker = Process(["gpu_handler", "--log-level", "DEBUG", "runpod"], env)
        self._children.append(worker)
        worker.line(ready)
        self.emulator.line(f"worker {worker_id} is here")
        return worker

    def stop(self) -> None:
        for child in reversed(self._children):
            child.stop()


@contextlib.contextmanager
def runpod_rig(folder: Path, *options: str) -> Iterator[RunpodRig]:
    """An emulator without workers; whatever is started in it is stopped with it."""
    rig = RunpodRig(folder, *options)
    try:
        rig.start()
        yield rig
    finally:
        rig.stop()


@pytest.fixture(scope="module")
def runpod_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunpodRig]:
    """An endpoint with one worker of the profile `mock`."""
    with runpod_rig(tmp_path_factory.mktemp("runpod")) as rig:
        rig.start_worker()
        yield rig
