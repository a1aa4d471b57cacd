"""`livedub runpod` against the emulator as a process: what is made, what it does, what AWS is told."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner, Result

from livedub.cli.main import app
from livedub.errors import ConfigurationError
from livedub.sts.client import connect_sts
from livedub.supervision.aws_client import aws_client
from local.python_child import ROOT
from local.runpod.account_api import ACCOUNT_PATH
from local.runpod.worker_api import worker_environment
from tests.contract.runpod_rig import KEY, Process, RunpodRig, runpod_rig
from tests.unit.livedub.sts.runpod_account_rig import IMAGE, OTHER_IMAGE

FILE = str(ROOT / "runpod-endpoint.json")
VOLUME = ("--network-volume", "vol1")
URL_PARAMETER = "/livedub/dev/sts/STS_SERVICE_URL"
ID_PARAMETER = "/livedub/dev/sts/RUNPOD_ENDPOINT_ID"
SECRET = "livedub/dev/sts/secrets"  # noqa: S105 - its name
WARM_UP_MS = 20_000


@pytest.fixture(scope="module")
def runpod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunpodRig]:
    with runpod_rig(tmp_path_factory.mktemp("runpod")) as rig:
        yield rig


@pytest.fixture(autouse=True)
def account(runpod: RunpodRig, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The command's environment; every test begins and ends with an empty account."""
    monkeypatch.setenv("RUNPOD_ACCOUNT_URL", f"{runpod.origin}{ACCOUNT_PATH}")
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    yield
    for options in ([], ["--environment", "dev"]):
        livedub("remove", "--yes", *options)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    aws_client.cache_clear()
    with mock_aws():
        yield boto3
    aws_client.cache_clear()


def livedub(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["runpod", *arguments])


def deployed(*arguments: str) -> dict[str, Any]:
    result = livedub("deploy", "--file", FILE, "--image", IMAGE, *VOLUME, "--json", *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.slow
def test_a_deployed_endpoint_does_the_jobs_of_the_address_that_is_printed(runpod: RunpodRig):
    endpoint = deployed()
    worker = Process(
        ["gpu_handler", "runpod"],
        {**worker_environment(runpod.origin, endpoint["id"], "w1", KEY), "STS_PROFILE": "mock"},
    )
    try:
        worker.line("STS ready")

        async def warm_up() -> None:
            client = connect_sts(endpoint["service_url"], api_key=KEY, runpod_base_url=runpod.url)
            try:
                await client.warm_up(timeout_ms=WARM_UP_MS)
                assert (await client.health()).ready
            finally:
                await client.aclose()

        asyncio.run(warm_up())
        assert json.loads(livedub("show", "--json").stdout)["workers"] == {
            "running": 0,
            "idle": 1,
            "initializing": 0,
            "throttled": 0,
            "unhealthy": 0,
            "total": 1,
        }
    finally:
        worker.stop()


def test_deploying_again_changes_nothing_and_a_dry_run_only_tells():
    dry = livedub("deploy", "--file", FILE, "--image", IMAGE, *VOLUME, "--dry-run")
    assert dry.stdout.startswith("would do:\ntemplate livedub-sts-worker: make\n")
    assert isinstance(livedub("show").exception, ConfigurationError), "it has only told"
    first = deployed()
    assert first["changed"]
    second = deployed()
    assert (second["id"], second["changed"], second["plan"]) == (first["id"], False, [])
    dry = livedub("deploy", "--file", FILE, "--image", OTHER_IMAGE, *VOLUME, "--dry-run")
    assert f"  image: {IMAGE} -> {OTHER_IMAGE}\n" in dry.stdout
    assert "its workers are replaced" in dry.stdout
    assert deployed()["plan"] == []
    assert (
        "nothing to change"
        in livedub("deploy", "--file", FILE, "--image", IMAGE, *VOLUME, "--dry-run").stdout
    )


def test_show_tells_settings_and_workers():
    endpoint = deployed()
    shown = livedub("show")
    assert f"STS_SERVICE_URL=runpod://{endpoint['id']}\n" in shown.stdout
    assert "  workers.idle_timeout_s: 60\n" in shown.stdout
    assert shown.stdout.endswith("workers: none\n")


def test_removing_asks_first_and_may_be_repeated():
    deployed()
    declined = CliRunner().invoke(app, ["runpod", "remove"], input="n\n")
    assert declined.exit_code == 1
    assert livedub("show").exit_code == 0
    removed = livedub("remove", "--yes")
    assert [line.split(" (")[0] for line in removed.stdout.splitlines()] == [
        "deleted endpoint livedub-sts",
        "deleted template livedub-sts-worker",
    ]
    assert livedub("remove", "--yes").stdout == "the account has nothing called livedub-sts\n"


def test_a_deployed_environment_is_told_its_endpoint(aws: Any):
    ssm = aws.client("ssm")
    for parameter in (URL_PARAMETER, ID_PARAMETER):
        ssm.put_parameter(Name=parameter, Value="old", Type="String")
    endpoint_id = deployed("--environment", "dev")["id"]
    assert ssm.get_parameter(Name=URL_PARAMETER)["Parameter"]["Value"] == f"runpod://{endpoint_id}"
    assert ssm.get_parameter(Name=ID_PARAMETER)["Parameter"]["Value"] == endpoint_id
    assert "livedub-dev-sts" in livedub("show", "--environment", "dev").stdout
    version = ssm.get_parameter(Name=ID_PARAMETER)["Parameter"]["Version"]
    deployed("--environment", "dev")
    assert ssm.get_parameter(Name=ID_PARAMETER)["Parameter"]["Version"] == version, "it was right already"


def test_an_environment_whose_speech_comes_from_its_own_host_keeps_it(aws: Any):
    ssm = aws.client("ssm")
    ssm.put_parameter(Name=URL_PARAMETER, Value="http://10.0.2.9:8000", Type="String")
    result = livedub("deploy", "--file", FILE, "--image", IMAGE, *VOLUME, "--environment", "dev")
    assert "dev is not deployed with RunPod" in result.stderr
    assert ssm.get_parameter(Name=URL_PARAMETER)["Parameter"]["Value"] == "http://10.0.2.9:8000"


def test_an_environment_without_parameters_gets_none_that_its_stack_would_trip_over(aws: Any):
    result = livedub("deploy", "--file", FILE, "--image", IMAGE, *VOLUME, "--environment", "dev")
    assert "-c runpod_endpoint_id=" in result.stderr
    assert aws.client("ssm").describe_parameters()["Parameters"] == []


def test_the_key_may_lie_in_the_environment_s_secret(aws: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RUNPOD_API_KEY")
    secrets = aws.client("secretsmanager")
    secrets.create_secret(Name=SECRET, SecretString=json.dumps({"STS_API_KEY": ""}))
    refused = livedub("show", "--environment", "dev").exception
    assert isinstance(refused, ConfigurationError)
    assert f"Secret {SECRET} has no STS_API_KEY." in refused.message
    secrets.put_secret_value(SecretId=SECRET, SecretString=json.dumps({"STS_API_KEY": KEY}))
    assert deployed("--environment", "dev")["id"]
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)


def test_without_a_key_nothing_is_asked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RUNPOD_API_KEY")
    refused = livedub("deploy", "--file", FILE, "--image", IMAGE, *VOLUME).exception
    assert isinstance(refused, ConfigurationError)
    assert "RUNPOD_API_KEY is not set" in refused.message
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)


def test_an_image_without_a_digest_is_refused_before_the_account_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("RUNPOD_ACCOUNT_URL", "http://127.0.0.1:1")
    refused = livedub("deploy", "--file", FILE, "--image", "livedub-sts:latest").exception
    assert isinstance(refused, ConfigurationError)
    assert "is no digest" in refused.message
