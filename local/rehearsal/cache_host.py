"""The media-cache host of a deployment, on the address that was deployed, with what AWS holds for it.

Its steps are those of infra/user_data/media_cache_install.sh; the units are processes here, and the volumes folders.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from livedub.media_cache.caddy_admin_client import served_fingerprint
from local.aws.child import client_environment
from local.processes import ChildProcess, Supervisor, line_ready
from local.python_child import python_spec
from local.rehearsal.deployed import DeployedEnvironment, read_environment
from local.steps import run_step

_STEP_TIMEOUT_S = 90.0
_READY_TIMEOUT_S = 60.0
_AGENT_TIMEOUT_S = 30.0
_STOP_S = 20.0
_FOLDERS = {"MEDIA_DATA_DIR": "data", "MEDIA_TLS_CERT_HOST_PATH": "tls"}
"""Parameters that name mount points, and what lies there on this machine."""


@dataclass(frozen=True, slots=True)
class CacheHost:
    """A running host, its SSM agent included.

    Attributes:
        process: Caddy and the upload service.
        agent: carries out what SSM sends.
        url: where consumers reach it.
        read_secrets: has it read its secrets again: the `host-env` of docs/media-cache.md.
    """

    process: ChildProcess
    agent: ChildProcess
    url: str
    read_secrets: Callable[[], Awaitable[None]]

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return self.url.removeprefix("https://")

    def served(self) -> str:
        """The fingerprint of the certificate that it serves now."""
        return served_fingerprint(self.address)


async def start_cache_host(supervisor: Supervisor, deployed: DeployedEnvironment, folder: Path) -> CacheHost:
    """Install and start it in `folder`, as State Manager would on its machine, and wait until it serves.

    Raises:
        DeploymentError: nothing is to be installed there.
        ProcessError: a step failed, or it did not come up.
    """
    instance = deployed.output("media-cache", "MediaCacheInstance")
    told = await deployed.installation_of(instance)
    environment = await _prepare(supervisor, deployed, told, folder)
    process = await supervisor.start(
        python_spec(
            "media-cache",
            "media_edge.cache",
            "up",
            env=environment,
            stop_timeout_s=_STOP_S,
            secret_stdout=True,
        ),
        ready=line_ready(r"^export TTS_MEDIA_CACHE_CA_BUNDLE="),
        ready_timeout_s=_READY_TIMEOUT_S,
    )
    # Says whether the certificate of the files is served, and tells consumers what vouches for it.
    await livedub_media(supervisor, "cache-rotate", environment, "rotate")
    agent = await _start_agent(supervisor, deployed, instance, environment)
    secret = told["MEDIA_DATABASE_SECRET"]
    read_secrets = partial(
        livedub_media,
        *(supervisor, "cache-secrets", environment),
        *("host-env", str(folder / "etc"), "--database-secret", secret),
    )
    return CacheHost(process, agent, deployed.output("media-cache", "MediaCacheUrl"), read_secrets)


async def _prepare(
    supervisor: Supervisor, deployed: DeployedEnvironment, told: Mapping[str, str], folder: Path
) -> dict[str, str]:
    """The host's variables: what the installation would write, and what `host-env` fetches."""
    settings = folder / "etc"
    for path in (settings, folder / "run", *(folder / name for name in _FOLDERS.values())):
        await asyncio.to_thread(path.mkdir, parents=True)
    for name, where in _FOLDERS.items():
        # What AWS holds wins on the host, and this machine has no volume there.
        parameter = f"/{told['NAMESPACE']}/media/{name}"
        await asyncio.to_thread(deployed.put_parameter, parameter, str(folder / where))
    environment = {
        **client_environment(deployed.endpoint),
        "MEDIA_BIND": told["PRIVATE_IP"],
        "MEDIA_CADDY_ADMIN_SOCKET": str(folder / "run" / "admin.sock"),
        "MEDIA_CONSUMER_PREFIX": told["MEDIA_CONSUMER_PREFIX"],
        "MEDIA_DATA_DIR": str(folder / "data"),
        "MEDIA_HTTPS_ADDRESS": f"{told['PRIVATE_IP']}:{told['MEDIA_PORT']}",
        "MEDIA_PORT": told["MEDIA_PORT"],
        "MEDIA_RUN_DIR": str(folder / "run"),
        "MEDIA_SETTINGS_SOURCE": "aws",
        "MEDIA_TLS_CERT_HOST_PATH": str(folder / "tls"),
        "MEDIA_TLS_PRIVATE_CA": "true",
        "NAMESPACE": told["NAMESPACE"],
        "PRIVATE_IP": told["PRIVATE_IP"],
    }
    secret = told["MEDIA_DATABASE_SECRET"]
    await livedub_media(
        supervisor, "cache-host-env", environment, "host-env", str(settings), "--database-secret", secret
    )
    await livedub_media(supervisor, "cache-tls-init", environment, "tls-init")
    return {**environment, **await read_environment(settings / "media-upload.env")}


async def _start_agent(
    supervisor: Supervisor, deployed: DeployedEnvironment, instance: str, environment: Mapping[str, str]
) -> ChildProcess:
    rotate = shlex.join([sys.executable, "-m", "livedub.cli.main", "media", "rotate"])
    actions = (f"rotate-tls={rotate}", f"restore-tls={rotate} --back")
    spec = python_spec(
        "media-cache-agent",
        "local.aws.host_agent",
        *("--endpoint", deployed.endpoint, "--instance-id", instance),
        *(f"--action={action}" for action in actions),
        env=environment,
    )
    return await supervisor.start(
        spec, ready=line_ready("waits for commands"), ready_timeout_s=_AGENT_TIMEOUT_S
    )


async def livedub_media(
    supervisor: Supervisor, name: str, environment: Mapping[str, str], *arguments: str
) -> None:
    """Run `livedub media` with `arguments` to its end.

    Raises:
        ProcessError: it failed.
    """
    spec = python_spec(name, "livedub.cli.main", "media", *arguments, env=environment)
    await run_step(supervisor, spec, _STEP_TIMEOUT_S)
