from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner, Result

from livedub.cli.main import app
from livedub.errors import ConfigurationError
from livedub.supervision.aws_client import aws_client

WORKERS = ("--parameters", "/livedub/dev/workers")


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    aws_client.cache_clear()
    with mock_aws():
        ssm = boto3.client("ssm")
        ssm.put_parameter(Name="/livedub/dev/workers/AGENT_SLOTS", Value="4", Type="String")
        ssm.put_parameter(Name="/livedub/dev/workers/WORKER_DELAY_MS", Value="8000", Type="String")
        ssm.put_parameter(Name="/livedub/dev/workers/OTHER", Value="x", Type="String")
        yield boto3.client("secretsmanager")
    aws_client.cache_clear()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["hosts", "environment", *arguments])


def test_variables_become_a_file_that_only_its_owner_reads(aws: Any, tmp_path: Path):
    secret = json.dumps({"STS_API_KEY": 'k"$1', "MEDIA_TLS_PRIVKEY_B64": "private"})
    aws.create_secret(Name="livedub/dev/sts/secrets", SecretString=secret)
    file = tmp_path / "etc" / "agent.env"
    result = run(str(file), *WORKERS, "--secrets", "livedub/dev/sts/secrets")
    assert result.exit_code == 0
    assert file.read_text() == 'AGENT_SLOTS="4"\nSTS_API_KEY="k\\"\\$1"\nWORKER_DELAY_MS="8000"\n'
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert 'k"$1' not in result.output


def test_prefixes_choose(aws: Any, tmp_path: Path):
    run(str(tmp_path / "agent.env"), *WORKERS, "--prefix", "AGENT_")
    assert (tmp_path / "agent.env").read_text() == 'AGENT_SLOTS="4"\n'


def test_what_is_needed_and_missing_is_named_and_nothing_written(aws: Any, tmp_path: Path):
    result = run(str(tmp_path / "agent.env"), *WORKERS, "--need", "AGENT_SLOTS", "--need", "STS_SERVICE_URL")
    assert isinstance(result.exception, ConfigurationError)
    assert "STS_SERVICE_URL is in none of /livedub/dev/workers" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(aws: Any, tmp_path: Path):
    (tmp_path / "file").write_text("")
    result = run(str(tmp_path / "file" / "agent.env"), *WORKERS)
    assert isinstance(result.exception, ConfigurationError)
