"""A writer's token is changed as docs/media-cache.md says, on a host that serves, under writers: no write fails."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner

from livedub.cli.main import app
from livedub.supervision.aws_client import aws_client
from local.rehearsal.cache_load import Told, under_load

from .media_rig import MediaHost, auth, path_of

NAMESPACE = "livedub/dev"
HOSTS, WRITERS = f"{NAMESPACE}/media/secrets", f"{NAMESPACE}/voice/secrets"
MEMBER = {HOSTS: "MEDIA_UPLOAD_TOKEN", WRITERS: "TTS_MEDIA_CACHE_UPLOAD_TOKEN"}
BOUND_S = 60.0


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for name, value in {
        "MEDIA_SETTINGS_SOURCE": "aws",
        "NAMESPACE": NAMESPACE,
        "PRIVATE_IP": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    aws_client.cache_clear()
    with mock_aws():
        client = boto3.client("secretsmanager")
        client.create_secret(Name="rds", SecretString="postgresql://nobody@127.0.0.1/none")
        for secret, member in MEMBER.items():
            client.create_secret(
                Name=secret, SecretString=json.dumps({member: member.lower().ljust(40, "x")})
            )
        yield client
    aws_client.cache_clear()


@pytest.fixture
def etc(tmp_path: Path, secrets: Any) -> Path:
    """What the host reads, written once."""
    folder = tmp_path / "etc"
    folder.mkdir()
    host_env(folder)
    return folder


@pytest.fixture
def serving(tmp_path: Path, etc: Path) -> Iterator[MediaHost]:
    with MediaHost(
        tmp_path, MEDIA_UPLOAD_TOKEN="", MEDIA_UPLOAD_TOKENS_FILE=str(etc / "media-upload.tokens")
    ) as host:
        yield host


def host_env(folder: Path) -> None:
    command("host-env", str(folder), "--database-secret", "rds")


def command(*arguments: str) -> None:
    done = CliRunner().invoke(app, ["media", *arguments])
    assert done.exit_code == 0, done.exception


def in_use(secrets: Any, secret: str) -> str:
    return json.loads(secrets.get_secret_value(SecretId=secret)["SecretString"])[MEMBER[secret]]


def is_accepted(host: MediaHost, token: str) -> bool:
    status = host.request("DELETE", path_of("nobody's"), headers=auth(token)).status
    assert status in {401, 404}
    return status == 404


@pytest.mark.parametrize("secret", [HOSTS, WRITERS])
def test_no_write_fails_while_a_token_is_changed(serving: MediaHost, secrets: Any, etc: Path, secret: str):
    bundle = serving.variables["TTS_MEDIA_CACHE_CA_BUNDLE"]
    before = in_use(secrets, secret)
    with under_load(
        serving.variables["TTS_MEDIA_CACHE_BASE_URL"], lambda: Told(in_use(secrets, secret), bundle)
    ) as load:
        assert load.all_write_with(before, BOUND_S)
        command("token", "next", secret)
        host_env(etc)
        command("token", "use", secret)
        after = in_use(secrets, secret)
        assert load.all_write_with(after, BOUND_S)
        # Whoever reads later than these two is still right.
        assert is_accepted(serving, before)
        host_env(etc)
        assert is_accepted(serving, before)
        command("token", "drop", secret)
        host_env(etc)
    assert (load.failures, load.requests > 0) == ([], True)
    assert after != before
    assert [is_accepted(serving, token) for token in (before, after)] == [False, True]
    # The other secret's is what it was.
    (other,) = MEMBER.keys() - {secret}
    assert is_accepted(serving, in_use(secrets, other))
    assert not [token for token in (before, after) if token in serving.log.read_text()]
