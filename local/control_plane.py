"""The control plane on this machine: a local AWS with the deployed assembly, or one that runs already.

What is deployed is what a deployment into an account gets: the synthesized template, the functions' code, the
state machine. Only the endpoint differs.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from livedub.cli.api_access import ApiAccess
from local.ports import free_port
from local.processes import Supervisor, line_ready
from local.python_child import python_spec

if TYPE_CHECKING:
    from local.aws.deployment import Deployed

_READY_TIMEOUT_S = 60.0
_STOP_S = 5.0
_REGION = "us-east-1"
"""What the local AWS is fixed to."""


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A deployed control plane and how to reach it.

    Attributes:
        endpoint: of every AWS service; `localhost` by name, because the tools around CloudFormation parse it.
        deployed: the stack's outputs.
        relay_key: signs what relays send; hex.
        api_token: opens the stream API.
    """

    endpoint: str
    deployed: Deployed
    relay_key: str = field(repr=False)
    api_token: str = field(repr=False)

    @property
    def access(self) -> ApiAccess:
        """What `livedub streams` needs."""
        return ApiAccess(self.deployed.hook_api_url, self.api_token)

    @property
    def environment(self) -> dict[str, str | None]:
        """What makes boto3 in a child talk to this AWS, whatever account the user's own environment names."""
        return aws_environment(self.endpoint)


def aws_environment(endpoint: str) -> dict[str, str | None]:
    """Variables for a child of this stack; a profile or session of the user's must not win over them."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": _REGION,
        "AWS_DEFAULT_REGION": _REGION,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_SESSION_TOKEN": None,
        "AWS_PROFILE": None,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


async def start_control_plane(supervisor: Supervisor, *, function_env: Mapping[str, str]) -> ControlPlane:
    """Start a local AWS and deploy into it; `function_env` overrides variables of the deployed functions.

    Raises:
        LivedubError: the server could not be started, the assembly not be made or not be deployed.
    """
    from local.aws import deployment  # noqa: PLC0415 - boto3 is heavy

    port = free_port()
    spec = python_spec("aws", "local.aws", "--port", str(port), stop_timeout_s=_STOP_S)
    _, assembly = await asyncio.gather(
        supervisor.start(spec, ready=line_ready(r'"event": ?"ready"'), ready_timeout_s=_READY_TIMEOUT_S),
        asyncio.to_thread(deployment.ensure_assembly),
    )
    endpoint = f"http://localhost:{port}"
    deployed = await asyncio.to_thread(deployment.deploy, endpoint, assembly, environment=dict(function_env))
    return await asyncio.to_thread(_read, endpoint, deployed)


async def find_control_plane(endpoint: str) -> ControlPlane:
    """What is deployed on a local AWS that runs already.

    Raises:
        LivedubError: nothing answers there, or nothing is deployed.
    """
    from local.aws import deployment  # noqa: PLC0415 - boto3 is heavy

    endpoint = endpoint.rstrip("/")
    deployed = await asyncio.to_thread(deployment.find, endpoint)
    return await asyncio.to_thread(_read, endpoint, deployed)


def _read(endpoint: str, deployed: Deployed) -> ControlPlane:
    from local.aws import deployment  # noqa: PLC0415 - boto3 is heavy

    return ControlPlane(
        endpoint,
        deployed,
        relay_key=deployment.secret(endpoint, deployed.relay_key_secret),
        api_token=deployment.secret(endpoint, deployed.api_token_secret),
    )
