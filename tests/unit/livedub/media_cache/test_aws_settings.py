"""What a clean-up function and a cache host fetch from AWS, against moto."""

import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner

from livedub.cli.main import app
from livedub.database.database_secret import database_url
from livedub.errors import ConfigurationError
from livedub.media_cache.cleanup_run import load_cleanup_settings
from livedub.supervision.aws_client import aws_client
from livedub.supervision.secret_store import SecretStore

RDS = {
    "username": "livedub",
    "password": "p@ss/w:rd",
    "host": "db.internal",
    "port": 5433,
    "dbname": "cache",
    "engine": "postgres",
}
URL = "postgresql://livedub:p%40ss%2Fw%3Ard@db.internal:5433/cache?sslmode=require"
TOKEN = "t" * 64
VOICE = "v" * 64


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in (
        "AWS_ENDPOINT_URL",
        "DATABASE_URL",
        "TTS_MEDIA_CACHE_UPLOAD_TOKEN",
        "TTS_MEDIA_CACHE_CA_BUNDLE",
    ):
        monkeypatch.delenv(name, raising=False)
    aws_client.cache_clear()
    with mock_aws():
        yield
    aws_client.cache_clear()


def secret(name: str, value: object) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    boto3.client("secretsmanager").create_secret(Name=name, SecretString=text)


def test_the_catalogues_address_is_made_of_what_rds_writes():
    secret("rds", RDS)
    assert database_url(SecretStore.connect(), "rds") == URL
    secret("url", f"  {URL}\n")
    assert database_url(SecretStore.connect(), "url") == URL
    secret("without-port", {**RDS, "port": None})
    assert database_url(SecretStore.connect(), "without-port") == URL.replace(":5433", ":5432")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("mysql://here", "Secret odd is no JSON object"),
        ("[1]", "Secret odd is no JSON object"),
        ({**RDS, "host": ""}, "Secret odd has no host"),
        ({"engine": "postgres"}, "Secret odd has no username, password, host, dbname"),
    ],
)
def test_a_secret_of_another_kind_is_named_without_its_value(value: object, words: str):
    secret("odd", value)
    with pytest.raises(ConfigurationError, match=words) as refused:
        database_url(SecretStore.connect(), "odd")
    assert "p@ss" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that the stack gives the function."""
    secret("rds", RDS)
    secret("writers", {"TTS_MEDIA_CACHE_UPLOAD_TOKEN": TOKEN})
    monkeypatch.setenv("TTS_MEDIA_CACHE_BASE_URL", "https://10.0.1.30:8443")
    monkeypatch.setenv("MEDIA_CLEANUP_DATABASE_SECRET", "rds")
    monkeypatch.setenv("MEDIA_CLEANUP_TOKEN_SECRET", "writers")
    monkeypatch.setenv("MEDIA_CLEANUP_BUNDLE_PREFIX", "/livedub/dev")


@pytest.mark.usefixtures("function")
def test_the_function_finds_catalogue_token_and_bundle_by_their_names():
    boto3.client("ssm").put_parameter(
        Name="/livedub/dev/api/TTS_MEDIA_CACHE_CA_BUNDLE", Value="QlVORExF", Type="String"
    )
    cleanup, cache = load_cleanup_settings()
    assert cleanup.database_url.get_secret_value() == URL
    assert cache.upload_token.get_secret_value() == TOKEN
    assert cache.ca_bundle == "QlVORExF"
    assert TOKEN not in repr(cache)


@pytest.mark.usefixtures("function")
def test_a_host_that_has_published_nothing_yet_is_said():
    with pytest.raises(
        ConfigurationError, match=r"None of /livedub/dev/voice/TTS_MEDIA_CACHE_CA_BUNDLE.* is set"
    ):
        load_cleanup_settings()


@pytest.mark.usefixtures("function")
def test_a_secret_without_a_token_is_said(monkeypatch: pytest.MonkeyPatch):
    secret("empty", {"TTS_MEDIA_CACHE_UPLOAD_TOKEN": ""})
    monkeypatch.setenv("MEDIA_CLEANUP_TOKEN_SECRET", "empty")
    with pytest.raises(ConfigurationError, match="Secret empty has no TTS_MEDIA_CACHE_UPLOAD_TOKEN"):
        load_cleanup_settings()


def test_a_host_writes_what_its_services_read(tmp_path: Path):
    secret("livedub/dev/media/secrets", {"MEDIA_UPLOAD_TOKEN": TOKEN, "MEDIA_TLS_PRIVKEY_B64": ""})
    secret(
        "livedub/dev/voice/secrets",
        {"TTS_MEDIA_CACHE_UPLOAD_TOKEN": VOICE, "MEDIA_UPLOAD_TOKEN_OTHER": f"{VOICE}x"},
    )
    secret("rds", RDS)
    environment = {
        "MEDIA_SETTINGS_SOURCE": "aws",
        "NAMESPACE": "livedub/dev",
        "PRIVATE_IP": "10.0.1.30",
        "MEDIA_PORT": "9443",
    }
    arguments = ["media", "host-env", str(tmp_path), "--database-secret", "rds"]
    done = CliRunner().invoke(app, arguments, env=environment)
    assert done.exit_code == 0, done.output
    assert done.output == ""
    upload, cleanup, tokens = (
        tmp_path / name for name in ("media-upload.env", "media-cleanup.env", "media-upload.tokens")
    )
    assert upload.read_text() == f'MEDIA_UPLOAD_TOKENS_FILE="{tokens}"\nDATABASE_URL="{URL}"\n'
    assert tokens.read_text() == f"default={TOKEN}\nvoice={VOICE}\nvoice-other={VOICE}x\n"
    assert cleanup.read_text() == (
        f'DATABASE_URL="{URL}"\n'
        'TTS_MEDIA_CACHE_BASE_URL="https://10.0.1.30:9443"\n'
        f'TTS_MEDIA_CACHE_UPLOAD_TOKEN="{TOKEN}"\n'
    )
    assert {path.stat().st_mode & 0o777 for path in (upload, cleanup, tokens)} == {0o600}


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "host-env has nothing to fetch"),
        (
            {"MEDIA_SETTINGS_SOURCE": "aws", "NAMESPACE": "livedub/none", "PRIVATE_IP": "10.0.1.30"},
            "Secret livedub/none/media/secrets has no MEDIA_UPLOAD_TOKEN",
        ),
    ],
)
def test_a_host_without_its_secrets_writes_nothing(tmp_path: Path, environment: dict[str, str], words: str):
    secret("rds", RDS)
    done = CliRunner().invoke(
        app, ["media", "host-env", str(tmp_path), "--database-secret", "rds"], env=environment
    )
    assert isinstance(done.exception, ConfigurationError)
    assert words in str(done.exception)
    assert not list(tmp_path.iterdir())
