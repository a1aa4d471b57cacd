"""The control plane on this machine: a local AWS with the deployed assembly, or one that runs already.

What is deployed is what a deployment into an account gets: the synthesized template, the functions' code, the
state machine. Only the endpoint differs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from livedub.cli.api_access import ApiAccess
from local.processes import Supervisor

if TYPE_CHECKING:
    from local.aws.deployment import Deployed


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
        """What makes boto3 in a child talk to this AWS, whatever profile the user's own environment names."""
        from local.aws.child import client_environment  # noqa: PLC0415 - boto3 is heavy

        return {**client_environment(self.endpoint), "AWS_PROFILE": None, "AWS_DEFAULT_PROFILE": None}


async def start_control_plane(supervisor: Supervisor, *, function_env: Mapping[str, str]) -> ControlPlane:
    """Start a local AWS and deploy into it; `function_env` overrides variables of the deployed functions.

    Raises:
        LivedubError: the server could not be started, the assembly not be made or not be deployed.
    """
    from local.aws import child, deployment  # noqa: PLC0415 - boto3 is heavy

    endpoint, assembly = await asyncio.gather(
        child.start_local_aws(supervisor), asyncio.to_thread(deployment.ensure_assembly)
    )
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
