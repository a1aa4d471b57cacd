"""The synthesized control plane on a local AWS, deployed without the cdk command."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.aws import deployment
from local.aws.deployment import DeploymentError
from tests.integration.deploy.conftest import PYTHONPATH, DeployedStack

LIST_STREAMS = {
    "version": "2.0",
    "routeKey": "GET /v1/streams",
    "rawPath": "/v1/streams",
    "rawQueryString": "",
    "headers": {},
    "requestContext": {
        "http": {"method": "GET", "path": "/v1/streams", "sourceIp": "192.0.2.1"},
        "requestId": "test",
        "stage": "$default",
    },
    "isBase64Encoded": False,
}
ACQUIRE = {"stream_id": "nobody", "execution": "test", "adopt_from": "", "attempt": 0}


def functions(stack: DeployedStack) -> dict[str, dict[str, Any]]:
    """Configuration by the name of the construct."""
    template = deployment.stack_template(stack.assembly)
    client = deployment.client(stack.endpoint, "lambda")
    deployed = client.list_functions(MaxItems=50)["Functions"]
    names = {
        logical_id: resource["Metadata"]["aws:cdk:path"].split("/")[-2]
        for logical_id, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Lambda::Function"
    }
    return {
        name: next(each for each in deployed if f"-{logical_id}-" in each["FunctionName"])
        for logical_id, name in names.items()
    }


def livedub_invoke(
    stack: DeployedStack, tmp_path: Path, function: str, event: object, *more: str
) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "event.json"
    path.write_text(json.dumps(event))
    return subprocess.run(
        [
            *(sys.executable, "-m", "livedub.cli.main", "invoke", function),
            *("--event", str(path), "--on", stack.endpoint, *more),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_what_was_deployed_is_found_again(stack: DeployedStack):
    assert deployment.find(stack.endpoint) == stack.outputs


def test_a_second_deployment_is_refused_with_its_remedy(stack: DeployedStack):
    with pytest.raises(DeploymentError, match=r"already exists.*It takes one deployment"):
        deployment.deploy(stack.endpoint, stack.assembly)


def test_secrets_were_generated(stack: DeployedStack):
    key = deployment.secret(stack.endpoint, stack.outputs.relay_key_secret)
    token = deployment.secret(stack.endpoint, stack.outputs.api_token_secret)
    assert re.fullmatch(r"[0-9a-f]{64}", key)
    assert re.fullmatch(r"[0-9A-Za-z]{64}", token)
    with pytest.raises(DeploymentError, match="the secret nowhere cannot be read"):
        deployment.secret(stack.endpoint, "nowhere")


def test_every_function_is_there_as_the_template_says(stack: DeployedStack):
    deployed = functions(stack)
    assert len(deployed) == 9
    for name, configuration in deployed.items():
        assert configuration["Handler"] == "handler.handler", name
        assert configuration["Runtime"] == "python3.11", name
        assert len(configuration["Layers"]) == 2, name
        variables = configuration["Environment"]["Variables"]
        assert variables["LIVEDUB_STREAMS_TABLE"] == stack.outputs.streams_table
        assert variables["LIVEDUB_RESTART_BUDGET"] == "7", "what deploy() was given"
        assert variables["LIVEDUB_HEARTBEAT_S"] == "6", "what the environment says"


def test_the_machine_calls_the_deployed_functions(stack: DeployedStack):
    machine = deployment.client(stack.endpoint, "stepfunctions").describe_state_machine(
        stateMachineArn=stack.outputs.state_machine_arn
    )
    definition = json.loads(machine["definition"])
    called = {
        name: definition["States"][name]["Parameters"]["FunctionName"]
        for name in ("AcquireLease", "ClassifyOutcome", "ReleaseLease")
    }
    deployed = functions(stack)
    assert called == {name: deployed[name]["FunctionArn"] for name in called}
    await_host = definition["States"]["AwaitHost"]["Parameters"]
    assert await_host["QueueUrl"] == stack.outputs.work_queue_url
    assert definition["States"]["SuperviseWorker"]["Parameters"]["TableName"] == stack.outputs.streams_table
    assert "${" not in machine["definition"]


def test_the_api_answers_and_refuses_strangers(stack: DeployedStack):
    url = stack.outputs.hook_api_url
    token = deployment.secret(stack.endpoint, stack.outputs.api_token_secret)
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        unsigned = client.post("/v1/hooks/publish", json={})
        stranger = client.get("/v1/streams")
        operator = client.get("/v1/streams", headers={"authorization": f"Bearer {token}"})
    assert (unsigned.status_code, unsigned.json()["code"]) == (401, "UNSIGNED")
    assert (stranger.status_code, stranger.json()["code"]) == (401, "UNAUTHORIZED")
    assert (operator.status_code, operator.json()) == (200, {"streams": []})


def test_invoke_answers_as_the_deployed_function(stack: DeployedStack, tmp_path: Path):
    done = livedub_invoke(stack, tmp_path, "AcquireLease", ACQUIRE)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "not_wanted"
    assert '"service":"acquire_lease"' in done.stderr


def test_invoke_signs_when_asked(stack: DeployedStack, tmp_path: Path):
    plain = livedub_invoke(stack, tmp_path, "StreamApi", LIST_STREAMS)
    signed = livedub_invoke(stack, tmp_path, "StreamApi", LIST_STREAMS, "--sign")
    assert json.loads(plain.stdout)["statusCode"] == 401
    assert json.loads(signed.stdout)["statusCode"] == 200, signed.stderr


def test_invoke_tells_what_the_function_raised(stack: DeployedStack, tmp_path: Path):
    done = livedub_invoke(stack, tmp_path, "AcquireLease", {"stream_id": 5})
    assert done.returncode == 1
    assert json.loads(done.stdout)["errorType"] == "InvalidInputError"


@pytest.mark.parametrize(
    ("function", "event", "words"),
    [
        ("OnNothing", {}, "function 'OnNothing' is not in the template. Take one of AcquireLease,"),
        ("OnPublish", [], "is a JSON list"),
        ("AcquireLease", ACQUIRE, "Leave --sign out"),
    ],
)
def test_what_cannot_be_invoked_is_one_line(
    stack: DeployedStack, tmp_path: Path, function: str, event: object, words: str
):
    done = livedub_invoke(stack, tmp_path, function, event, "--sign")
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_running_functions_leaves_the_assembly_as_it_was(stack: DeployedStack):
    """Bytecode beside what is deployed would change the next deployment: functions run from unpacked archives."""
    ours = [path for path in stack.assembly.glob("asset.*/**/__pycache__") if "livedub" in path.parts]
    assert ours == []
    assert not list(stack.assembly.glob("asset.*/__pycache__"))
