"""`warm_sts`: what it takes from AWS, what it asks of RunPod, and which failures it bears."""

import importlib
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from livedub.errors import ConfigurationError
from livedub.supervision.aws_client import aws_client
from tests.unit.functions.rig import ENVIRONMENT, EVENTS, Context, log_lines
from tests.unit.livedub.sts.runpod_health_server import ENDPOINT_ID, KEY, HealthServer, health_server

PARAMETER = "/livedub/dev/sts/STS_SERVICE_URL"
SECRET = "livedub/dev/sts/secrets"  # noqa: S105 - its name
EVENT = json.loads((EVENTS / "warm_sts.json").read_text())


@pytest.fixture
def runpod() -> Iterator[HealthServer]:
    with health_server() as server:
        yield server


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch, runpod: HealthServer) -> Iterator[None]:
    variables = {
        "LIVEDUB_STS_URL_PARAMETER": PARAMETER,
        "LIVEDUB_STS_SECRET": SECRET,
        "STS_RUNPOD_BASE_URL": runpod.base_url,
    }
    for name, value in {**ENVIRONMENT, **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    aws_client.cache_clear()
    with mock_aws():
        boto3.client("secretsmanager").create_secret(Name=SECRET, SecretString="{}")
        yield
    aws_client.cache_clear()


def deployed(address: str = f"runpod://{ENDPOINT_ID}", key: str = KEY) -> None:
    boto3.client("ssm").put_parameter(Name=PARAMETER, Value=address, Type="String", Overwrite=True)
    secret = json.dumps({"STS_API_KEY": key})
    boto3.client("secretsmanager").put_secret_value(SecretId=SECRET, SecretString=secret)


def called() -> dict[str, Any]:
    return importlib.import_module("functions.warm_sts.handler").handler(EVENT, Context("warm_sts"))


def test_an_endpoint_that_sleeps_is_woken_up(runpod: HealthServer):
    deployed()
    assert called() == {"readiness": "asleep"}
    assert len(runpod.jobs) == 1
    assert runpod.keys == {f"Bearer {KEY}"}


def test_where_a_worker_is_awake_nothing_is_handed_in(runpod: HealthServer):
    deployed()
    runpod.health = {"workers": {"idle": 1}}
    assert called() == {"readiness": "ready"}
    assert runpod.jobs == []


def test_of_several_accepted_keys_the_first_is_used(runpod: HealthServer):
    deployed(key=f"{KEY},an-older-one")
    called()
    assert runpod.keys == {f"Bearer {KEY}"}


def test_a_host_of_our_own_needs_no_waking(runpod: HealthServer):
    deployed("http://10.0.2.9:8000")
    assert called() == {"readiness": "not RunPod"}
    assert runpod.keys == set()


@pytest.mark.parametrize("status", [401, 404, 429, 500])
def test_that_runpod_refuses_is_noted_and_is_no_failure(runpod: HealthServer, status: int):
    deployed()
    runpod.status = status
    with log_lines("warm_sts") as lines:
        assert called() == {"readiness": "unknown"}
    assert any("was not woken up" in line["message"] for line in lines if "message" in line)
    assert KEY not in json.dumps(lines)


def test_without_a_key_or_an_address_the_function_fails_and_says_what_is_missing():
    with pytest.raises(ConfigurationError, match=f"Parameter {PARAMETER} is not there"):
        called()
    deployed(key="")
    with pytest.raises(ConfigurationError, match=f"Secret {SECRET} has no STS_API_KEY"):
        called()


def test_without_its_variables_the_function_names_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("LIVEDUB_STS_SECRET")
    with pytest.raises(ConfigurationError, match="LIVEDUB_STS_SECRET: Field required"):
        called()
