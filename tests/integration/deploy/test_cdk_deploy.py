"""The real cdk command against a local AWS, every stack; `make deploy-local` itself drives a stream through them."""

import json
import os
import signal
import subprocess
import sys
import threading
from typing import Any

import httpx
import pytest

from local.aws import deployment
from tests.integration.deploy.conftest import PYTHONPATH, ROOT, DeployedStack

pytestmark = pytest.mark.slow

DEPLOY_LOCAL = [sys.executable, "-m", "local.aws.deploy_local"]
OUTPUTS = {
    "control-plane": {"HookApiUrl", "WorkQueueUrl", "StateMachineArn"},
    "media": {"MediaInstance"},
    "media-cache": {"MediaCacheUrl", "MediaCacheInstance"},
    "media-library": {"LibraryApiUrl"},
    "network": {"VpcId"},
    "observability": set(),
    "state": {"StreamsTable", "RelayKeySecret", "ApiTokenSecret", "CatalogueSecret"},
    "workers": set(),
}
"""By stack, what somebody is told to look for."""


def outputs_of(printed: str) -> dict[str, dict[str, str]]:
    return {
        name.removeprefix("livedub-local-"): outputs
        for name, outputs in json.loads(printed).items()
        if name.startswith("livedub-local-")
    }


def describe(endpoint: str) -> dict[str, Any]:
    """What can be compared of two deployments: no name that was drawn by lot."""
    cloudformation = deployment.client(endpoint, "cloudformation")
    described = cloudformation.describe_stack_resources(StackName=deployment.STACK)["StackResources"]
    resources = [each for each in described if "PhysicalResourceId" in each]  # else moto does nothing with it
    logical = {each["PhysicalResourceId"]: each["LogicalResourceId"] for each in resources}
    functions = deployment.client(endpoint, "lambda").list_functions(MaxItems=50)["Functions"]
    machines = deployment.client(endpoint, "stepfunctions").list_state_machines()["stateMachines"]
    return {
        "resources": sorted((each["LogicalResourceId"], each["ResourceType"]) for each in resources),
        "functions": {
            logical[each["FunctionName"]]: {
                "handler": each["Handler"],
                "timeout": each["Timeout"],
                "variables": sorted(each["Environment"]["Variables"]),
                "layers": len(each["Layers"]),
            }
            for each in functions
            if each["FunctionName"] in logical
        },
        "machines": [each["name"] for each in machines if each["stateMachineArn"] in logical],
    }


COMMAND = f"""
import json, os, sys
sys.path[:0] = {PYTHONPATH.split(os.pathsep)!r}
from tests.integration.deploy.test_cdk_deploy import describe
from livedub.cli.api_access import find_access
access = find_access(os.environ)
print(json.dumps({{"described": describe(os.environ["AWS_ENDPOINT_URL"]), "url": access.url}}))
sys.exit(7)
"""


@pytest.mark.timeout(300)
def test_the_command_gives_what_the_direct_deployment_gives_and_every_other_stack(stack: DeployedStack):
    done = subprocess.run(
        [*DEPLOY_LOCAL, "--", sys.executable, "-c", COMMAND],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 7, f"the exit code of the command\n{done.stderr[-3000:]}"
    *printed, last = done.stdout.splitlines()
    outputs, ours = outputs_of("\n".join(printed)), json.loads(last)
    assert {part: names & set(outputs[part]) for part, names in OUTPUTS.items()} == OUTPUTS
    assert ours["url"] == outputs["control-plane"]["HookApiUrl"]
    direct = json.loads(json.dumps(describe(stack.endpoint)))
    for function in direct["functions"].values():
        function["variables"].remove("LIVEDUB_RESTART_BUDGET")  # laid over by the fixture
    assert ours["described"] == direct


@pytest.mark.timeout(300)
def test_it_serves_until_it_is_told_to_end():
    process = subprocess.Popen(
        [*DEPLOY_LOCAL, "--no-drive", "--keep"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": PYTHONPATH, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    watchdog = threading.Timer(200, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        lines: list[str] = []
        while not lines or lines[-1] not in {"}\n", ""}:
            lines.append(process.stdout.readline())
        url = outputs_of("".join(lines))["control-plane"]["HookApiUrl"]
        assert httpx.get(f"{url}/v1/streams", timeout=30, trust_env=False).status_code == 401
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 130
        with pytest.raises(httpx.ConnectError):
            httpx.get(url, timeout=5, trust_env=False)
    finally:
        watchdog.cancel()
        process.kill()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()
