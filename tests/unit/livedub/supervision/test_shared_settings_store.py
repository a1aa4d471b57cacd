from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from livedub.errors import ConfigurationError
from livedub.supervision.shared_settings_store import SharedSettingsStore, SharedSources
from livedub.supervision.store_errors import StoreUnavailableError

SOURCES = SharedSources(
    ("/livedub/dev/sts", "/livedub/dev/voice"), ("livedub/dev/sts/secrets", "livedub/dev/voice/secrets")
)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield


@pytest.fixture
def ssm(aws: None) -> Any:
    return boto3.client("ssm")


@pytest.fixture
def secrets(aws: None) -> Any:
    return boto3.client("secretsmanager")


def test_variables_come_from_both_stores_and_nothing_else_does(ssm: Any, secrets: Any):
    for name, value in {
        "/livedub/dev/sts/STS_SERVICE_URL": "runpod://abc",
        "/livedub/dev/sts/RUNPOD_ENDPOINT_ID": "abc",
        "/livedub/dev/sts/deeper/STS_HEDGE_URL": "http://no",
        "/livedub/dev/voice/TTS_MEDIA_CACHE_CA_BUNDLE": "YnVuZGxl\n",
        "/livedub/dev/media/STS_API_KEY": "of another path",
    }.items():
        ssm.put_parameter(Name=name, Value=value, Type="String")
    held = {"TTS_MEDIA_CACHE_UPLOAD_TOKEN": "t", "MEDIA_TLS_PRIVKEY_B64": "a private key", "STS_API_KEY": ""}
    secrets.create_secret(Name="livedub/dev/voice/secrets", SecretString=json.dumps(held))
    assert SharedSettingsStore(ssm, secrets).read(SOURCES) == {
        "STS_SERVICE_URL": "runpod://abc",
        "TTS_MEDIA_CACHE_CA_BUNDLE": "YnVuZGxl",
        "TTS_MEDIA_CACHE_UPLOAD_TOKEN": "t",
    }


def test_more_parameters_than_one_answer_has(ssm: Any, secrets: Any):
    names = [f"STS_{number}" for number in range(25)]
    for name in names:
        ssm.put_parameter(Name=f"/livedub/dev/sts/{name}", Value=name, Type="String")
    assert set(SharedSettingsStore(ssm, secrets).read(SharedSources(("/livedub/dev/sts",)))) == set(names)


def test_a_secret_is_a_json_object(ssm: Any, secrets: Any):
    secrets.create_secret(Name="livedub/dev/sts/secrets", SecretString="s3cret-but-no-object")
    with pytest.raises(ConfigurationError, match="no JSON object") as error:
        SharedSettingsStore(ssm, secrets).read(SOURCES)
    assert "s3cret" not in str(error.value)


def test_aws_that_refuses_is_unavailable(ssm: Any, secrets: Any):
    class Refusing:
        def get_parameters_by_path(self, **_: Any) -> Any:
            return ssm.get_parameter(Name="/not/there")

    with pytest.raises(StoreUnavailableError, match="/livedub/dev/sts"):
        SharedSettingsStore(Refusing(), secrets).read(SOURCES)


@pytest.mark.parametrize("listed", [("sts", ""), ("/a b", ""), ("", "two words")])
def test_names_that_no_call_would_take(listed: tuple[str, str]):
    with pytest.raises(ConfigurationError, match=r"is no (path|name)"):
        SharedSources.listed(*listed)
