"""The local AWS as a child process, for programs that need one of their own."""

from __future__ import annotations

import json
import os

from livedub.cli.api_access import TOKEN_VARIABLE, URL_VARIABLE
from local.aws import deployment
from local.processes import Supervisor, line_ready
from local.python_child import python_spec

_READY = r'"event": ?"ready"'
_READY_TIMEOUT_S = 60.0
_STOP_S = 5.0


async def start_local_aws(supervisor: Supervisor, *, port: int = 0) -> str:
    """Start a fresh one and return its endpoint; port 0 takes a free one.

    Raises:
        ProcessError: it did not come up.
    """
    child = await supervisor.start(
        python_spec("aws", "local.aws", "--port", str(port), stop_timeout_s=_STOP_S),
        ready=line_ready(_READY),
        ready_timeout_s=_READY_TIMEOUT_S,
    )
    return str(json.loads(await child.line(_READY))["endpoint"])


def client_environment(endpoint: str) -> dict[str, str]:
    """Variables that make AWS's own tools and libraries talk to this AWS and to no other.

    An AWS_PROFILE of the user's would win over some of them, and an empty one is an error to boto3: see
    `forget_profiles`.
    """
    return {
        # Literally `localhost`: of an address, CloudFormation there would take the first part for a bucket.
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_REGION": deployment.REGION,
        "AWS_DEFAULT_REGION": deployment.REGION,
        # The cdk command remembers accounts by access key; one key per server keeps them apart.
        "AWS_ACCESS_KEY_ID": f"local{endpoint.rsplit(':', 1)[1]}",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_SESSION_TOKEN": "",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def forget_profiles() -> None:
    """Take AWS profiles out of our own environment, and so out of what children inherit."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        os.environ.pop(name, None)


def api_environment(endpoint: str, deployed: deployment.Deployed) -> dict[str, str]:
    """Variables by which `livedub streams` finds the stream API and may use it."""
    return {
        URL_VARIABLE: deployed.hook_api_url,
        TOKEN_VARIABLE: deployment.secret(endpoint, deployed.api_token_secret),
    }
