"""A local AWS of its own, with the control plane deployed from the assembly."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.aws import deployment
from local.aws.deployment import Deployed
from local.aws.spawner import dying_with_parent

ROOT = Path(__file__).parents[3]
PYTHONPATH = f"{ROOT}{os.pathsep}{ROOT / 'layers/core/python'}"


@contextmanager
def running_local_aws() -> Iterator[str]:
    """The endpoint of a fresh one."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            dying_with_parent([sys.executable, "-m", "local.aws", "--port", "0"]),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": PYTHONPATH},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            watchdog.cancel()
            if not line:
                log.seek(0)
                pytest.fail(f"the local AWS did not start: {log.read()[-2000:]!r}")
            yield json.loads(line)["endpoint"]
        finally:
            watchdog.cancel()
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
            assert process.stdout is not None
            process.stdout.close()


@dataclass(frozen=True)
class DeployedStack:
    endpoint: str
    assembly: Path
    outputs: Deployed


@pytest.fixture(scope="module")
def stack() -> Iterator[DeployedStack]:
    assembly = deployment.ensure_assembly()
    with running_local_aws() as endpoint:
        outputs = deployment.deploy(endpoint, assembly, environment={"LIVEDUB_RESTART_BUDGET": "7"})
        yield DeployedStack(endpoint, assembly, outputs)
