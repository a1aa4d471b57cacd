"""An endpoint as child processes: the emulator and a worker, for programs that need both."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from local.processes import ChildProcess, Probe, ProcessError, Supervisor, line_ready
from local.python_child import python_spec
from local.runpod.server import DEFAULT_ENDPOINT_ID
from local.runpod.worker_api import worker_environment

_READY = r'"event": ?"ready"'
_EMULATOR_TIMEOUT_S = 30.0
_WORKER_TIMEOUT_S = 180.0
_EMULATOR_STOP_S = 5.0
_WORKER_STOP_S = 15.0
"""Jobs in hand may end: 8 s, then engines: 4 s."""
_KEY_BYTES = 24


@dataclass(frozen=True, slots=True)
class Emulator:
    """A running emulator with one endpoint. The key opens both its sides, and is in no argv."""

    process: ChildProcess
    origin: str
    key: str = field(repr=False)
    endpoint_id: str = DEFAULT_ENDPOINT_ID

    @property
    def client_environment(self) -> dict[str, str | None]:
        """Variables that make an STS client use the endpoint."""
        return {
            "STS_SERVICE_URL": f"runpod://{self.endpoint_id}",
            "STS_RUNPOD_BASE_URL": f"{self.origin}/v2",
            "STS_API_KEY": self.key,
        }


async def start_emulator(supervisor: Supervisor, folder: Path) -> Emulator:
    """Start an emulator whose key lies in `folder`.

    Raises:
        ProcessError: it did not come up.
    """
    key = secrets.token_urlsafe(_KEY_BYTES)
    key_file = _write_key(folder, key)
    child = await supervisor.start(
        python_spec(
            "runpod", "local.runpod", "--api-key-file", str(key_file), stop_timeout_s=_EMULATOR_STOP_S
        ),
        ready=line_ready(_READY),
        ready_timeout_s=_EMULATOR_TIMEOUT_S,
    )
    return Emulator(child, str(json.loads(await child.line(_READY))["url"]), key)


async def start_worker(
    supervisor: Supervisor,
    emulator: Emulator,
    *,
    worker_id: str = "sts",
    settings: Mapping[str, str | None] | None = None,
    niceness: int = 0,
) -> ChildProcess:
    """Start a worker (`STS_*` in `settings`) and wait until its models are loaded.

    Raises:
        ProcessError: it did not come up, or says that it cannot work.
    """
    platform = worker_environment(emulator.origin, emulator.endpoint_id, worker_id, emulator.key)
    spec = python_spec(
        worker_id,
        "gpu_handler",
        "runpod",
        env={**(settings or {}), **platform},
        stop_timeout_s=_WORKER_STOP_S,
        niceness=niceness,
    )
    return await supervisor.start(spec, ready=_works(), ready_timeout_s=_WORKER_TIMEOUT_S)


def _write_key(folder: Path, key: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "runpod.key"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(key)
    return file


def _works() -> Probe:
    """Ready when the worker takes jobs to work on them; one that takes them only to refuse them is not."""

    async def probe(child: ChildProcess) -> None:
        said = await child.line(r"^STS (ready|cannot work)")
        if "cannot work" in said:
            raise ProcessError(said)

    return probe
