"""The local stack on a deployment: every part with the settings that were deployed, none with its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.aws import deployment
from local.processes import ChildProcess
from local.python_child import python_spec
from local.rehearsal.cache_host import CacheHost, start_cache_host
from local.rehearsal.deployed import DeployedEnvironment, read_environment
from local.runpod.child import Emulator
from local.stack import Stack
from local.steps import run_step

_STEP_TIMEOUT_S = 60.0
_NOT_HERE = ("AGENT_IMDS_URL", "AGENT_LIFECYCLE_GROUP", "AGENT_LIFECYCLE_HOOK", "AGENT_LIFECYCLE_LAUNCH_HOOK")
"""No metadata service says here which machine this is."""
_PREFIXES = ("AGENT_", "WORKER_", "LIVEDUB_", "S3_")


@dataclass(frozen=True, slots=True)
class Speech:
    """The endpoint that was made on RunPod's emulator, and its worker."""

    emulator: Emulator
    worker: ChildProcess


class DeployedStack(Stack):
    """Its options' `on` is the deployment's endpoint."""

    def __init__(self, *args: Any, deployed: DeployedEnvironment, speech: Speech, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.deployed = deployed
        self.cache: CacheHost | None = None
        self._speech = speech
        self._media_host: Mapping[str, str] = {}
        self._worker_host: Mapping[str, str] = {}

    async def _start_control_plane(self) -> None:
        await super()._start_control_plane()
        deployed = self.deployed
        self._media_host = await deployed.installation_of(deployed.output("media", "MediaInstance"))
        self._worker_host = await self._worker_settings()

    async def _start_sts(self) -> None:
        # What `docs/runpod.md` has the operator put there: streams need the key.
        emulator = self._speech.emulator
        secret = f"livedub/{self.deployed.name}/sts/secrets"
        await asyncio.to_thread(lambda: self.deployed.put_in_secret(secret, STS_API_KEY=emulator.key))
        self.emulator, self.sts = emulator, self._speech.worker

    async def _start_media_cache(self) -> None:
        self.cache = await start_cache_host(self.supervisor, self.deployed, self._run_dir / "cache")

    def relay_env(self) -> dict[str, str]:
        """The relay's settings: API and key are those that the media host is told."""
        told = self._media_host
        return {
            **super().relay_env(),
            "RELAY_ID": told["RELAY_ID"],
            "RELAY_API_URL": told["API_URL"],
            "RELAY_SIGNING_KEY": deployment.secret(self.deployed.endpoint, told["RELAY_KEY_SECRET"]),
        }

    def agent_env(self, agent_id: str) -> dict[str, str | None]:
        """An agent's settings: those of a worker host, but for what this machine has no room for."""
        return {
            **self._worker_host,
            **dict.fromkeys(_NOT_HERE, ""),
            **self._spool_env(),
            **self.options.worker_env,
            **self.control.environment,
            "AGENT_ID": agent_id,
            "AGENT_EVENTS_DIR": str(self._events_dir),
        }

    def _spool_env(self) -> dict[str, str]:
        """Where the deployed host has its spool it has one here, on a disk that is somebody else's."""
        if not self._worker_host.get("AGENT_LIBRARY_SPOOL"):
            return {}
        return {"AGENT_LIBRARY_SPOOL": str(self._run_dir / "spool"), "AGENT_LIBRARY_FREE_MB": "0"}

    async def _worker_settings(self) -> dict[str, str]:
        """What a worker host writes at its first boot."""
        file: Path = self._run_dir / "etc" / "worker.env"
        prefixes = [f"--prefix={prefix}" for prefix in _PREFIXES]
        arguments = [str(file), f"--parameters=/livedub/{self.deployed.name}/workers", *prefixes]
        spec = python_spec(
            "worker-host",
            "livedub.cli.main",
            "hosts",
            "environment",
            *arguments,
            env=self.control.environment,
        )
        await run_step(self.supervisor, spec, _STEP_TIMEOUT_S)
        return await read_environment(file)
