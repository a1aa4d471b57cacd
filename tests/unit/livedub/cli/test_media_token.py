"""`livedub media token`, against moto."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner

from livedub.cli.main import app
from livedub.errors import ConfigurationError
from livedub.supervision.aws_client import aws_client
from livedub.supervision.store_errors import StoreUnavailableError

SECRET = "livedub/dev/media/secrets"  # noqa: S105 - its name
OLD = "o" * 32


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    aws_client.cache_clear()
    with mock_aws():
        yield boto3.client("secretsmanager")
    aws_client.cache_clear()


def held(secrets: Any) -> dict[str, str]:
    return json.loads(secrets.get_secret_value(SecretId=SECRET)["SecretString"])


def test_three_steps_change_the_token_and_nothing_else(secrets: Any):
    secrets.create_secret(
        Name=SECRET, SecretString=json.dumps({"MEDIA_TLS_PRIVKEY_B64": "key", "MEDIA_UPLOAD_TOKEN": OLD})
    )
    said, seen = "", []
    for step in ("next", "use", "drop"):
        done = CliRunner().invoke(app, ["media", "token", step, SECRET])
        assert done.exit_code == 0, done.output
        said += done.output
        seen.append(held(secrets))
    new = seen[0]["MEDIA_UPLOAD_TOKEN_OTHER"]
    assert len(new) == 64
    assert seen == [
        {"MEDIA_TLS_PRIVKEY_B64": "key", "MEDIA_UPLOAD_TOKEN": OLD, "MEDIA_UPLOAD_TOKEN_OTHER": new},
        {"MEDIA_TLS_PRIVKEY_B64": "key", "MEDIA_UPLOAD_TOKEN": new, "MEDIA_UPLOAD_TOKEN_OTHER": OLD},
        {"MEDIA_TLS_PRIVKEY_B64": "key", "MEDIA_UPLOAD_TOKEN": new},
    ]
    assert OLD not in said
    assert new not in said


@pytest.mark.parametrize("text", ["s3cret", '["s3cret"]', '{"MEDIA_UPLOAD_TOKEN": 7}'])
def test_a_secret_of_another_kind_stays_as_it_is(secrets: Any, text: str):
    secrets.create_secret(Name=SECRET, SecretString=text)
    done = CliRunner().invoke(app, ["media", "token", "next", SECRET])
    assert isinstance(done.exception, ConfigurationError)
    assert "s3cret" not in str(done.exception)
    assert secrets.get_secret_value(SecretId=SECRET)["SecretString"] == text


@pytest.mark.usefixtures("secrets")
def test_a_secret_that_is_not_there_is_said():
    done = CliRunner().invoke(app, ["media", "token", "next", SECRET])
    assert isinstance(done.exception, StoreUnavailableError)
    assert SECRET in str(done.exception)
