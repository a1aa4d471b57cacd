"""The speech service of a rehearsal: an endpoint that `livedub runpod deploy` makes on the emulator, and its worker."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from local.processes import ChildProcess, Supervisor
from local.python_child import ROOT, python_spec
from local.runpod.child import Emulator, start_emulator, start_worker
from local.steps import run_step

_DEPLOY_TIMEOUT_S = 60.0
_IMAGE = "rehearsal.invalid/livedub-sts@sha256:" + "0" * 64
"""Nobody pulls it: the worker is a process of this checkout."""
_VOLUME = "rehearsal"
"""Nobody mounts it: the models are this machine's."""
_NICENESS = 10
"""As `livedub up`: the models may wait for media."""


async def deploy_endpoint(supervisor: Supervisor, folder: Path, *, environment: str) -> Emulator:
    """Start RunPod's emulator and have the endpoint of `environment` made on it.

    Raises:
        ProcessError: the emulator did not come up, or the command failed.
    """
    emulator = await start_emulator(supervisor, folder)
    account = {"RUNPOD_ACCOUNT_URL": f"{emulator.origin}/account/v2", "RUNPOD_API_KEY": emulator.key}
    arguments = ("deploy", "--json", "--name", f"livedub-{environment}-sts", "--image", _IMAGE)
    arguments = (*arguments, "--network-volume", _VOLUME, "--file", str(ROOT / "runpod-endpoint.json"))
    spec = python_spec("runpod-deploy", "livedub.cli.main", "runpod", *arguments, env=account)
    printed = await run_step(supervisor, spec, _DEPLOY_TIMEOUT_S)
    return replace(emulator, endpoint_id=str(json.loads("\n".join(printed))["id"]))


async def start_speech_worker(supervisor: Supervisor, emulator: Emulator, *, profile: str) -> ChildProcess:
    """Start the endpoint's worker and wait until its models are loaded.

    Raises:
        ProcessError: it did not come up, or says that it cannot work.
    """
    return await start_worker(supervisor, emulator, settings={"STS_PROFILE": profile}, niceness=_NICENESS)
