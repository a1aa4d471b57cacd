import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from livedub.errors import ConfigurationError
from livedub.media_cache import host_environment
from livedub.media_cache.host_environment import write_environment, write_tokens
from livedub.media_cache.parameter_store import ParameterStore
from livedub.supervision.store_errors import StoreUnavailableError

NAMESPACE = "voiceai"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",  # pragma: allowlist secret
    "AWS_DEFAULT_REGION": "eu-west-1",
}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        yield


@pytest.fixture
def ssm(aws: None) -> Any:
    return boto3.client("ssm")


@pytest.fixture
def secrets(aws: None) -> Any:
    return boto3.client("secretsmanager")


@pytest.fixture
def store(ssm: Any, secrets: Any) -> ParameterStore:
    return ParameterStore(ssm, secrets)


class TestVariables:
    def test_they_come_from_their_two_stores(self, store: ParameterStore, ssm: Any, secrets: Any):
        ssm.put_parameter(Name="/voiceai/media/MEDIA_TLS_FULLCHAIN_B64", Value="Y2hhaW4=", Type="String")
        ssm.put_parameter(Name="/voiceai/media/MEDIA_TLS_SAN_DNS", Value="media.internal", Type="String")
        ssm.put_parameter(Name="/other/media/MEDIA_DATA_DIR", Value="/mnt/other", Type="String")
        held = {
            "MEDIA_TLS_PRIVKEY_B64": "a2V5",
            "MEDIA_UPLOAD_TOKEN": "token",
            "OTHER": "x",
            "MEDIA_DATA_DIR": "x",
        }
        secrets.create_secret(Name="voiceai/media/secrets", SecretString=json.dumps(held))
        assert store.media_variables(NAMESPACE) == {
            "MEDIA_TLS_FULLCHAIN_B64": "Y2hhaW4=",
            "MEDIA_TLS_SAN_DNS": "media.internal",
            "MEDIA_TLS_PRIVKEY_B64": "a2V5",
            "MEDIA_UPLOAD_TOKEN": "token",
        }

    def test_nothing_there_is_nothing_set(self, store: ParameterStore):
        assert store.media_variables(NAMESPACE) == {}

    def test_blank_values_count_as_not_set(self, store: ParameterStore, ssm: Any, secrets: Any):
        ssm.put_parameter(Name="/voiceai/media/MEDIA_TLS_FULLCHAIN_B64", Value=" ", Type="String")
        secrets.create_secret(
            Name="voiceai/media/secrets",
            SecretString=json.dumps({"MEDIA_TLS_PRIVKEY_B64": "", "MEDIA_UPLOAD_TOKEN": 7}),
        )
        assert store.media_variables(NAMESPACE) == {}

    @pytest.mark.parametrize("text", ["hush-hush", "[]", '"hush-hush"'])
    def test_a_secret_that_is_no_object_is_refused_and_not_quoted(
        self, store: ParameterStore, secrets: Any, text: str
    ):
        secrets.create_secret(Name="voiceai/media/secrets", SecretString=text)
        with pytest.raises(ConfigurationError, match="no JSON object") as caught:
            store.media_variables(NAMESPACE)
        assert "hush" not in str(caught.value)
        assert caught.value.__cause__ is None

    def test_a_refusal_by_aws_is_ours(
        self, store: ParameterStore, secrets: Any, monkeypatch: pytest.MonkeyPatch
    ):
        def refuse(**_: Any) -> Any:
            raise secrets.exceptions.ClientError(
                {"Error": {"Code": "AccessDeniedException"}}, "GetSecretValue"
            )

        monkeypatch.setattr(secrets, "get_secret_value", refuse)
        with pytest.raises(StoreUnavailableError, match="voiceai/media/secrets"):
            store.media_variables(NAMESPACE)


class TestBundles:
    def test_they_are_written_and_read_at_both_consumers(self, store: ParameterStore, ssm: Any):
        names = [
            "/voiceai/prod/voice/TTS_MEDIA_CACHE_CA_BUNDLE",
            "/voiceai/prod/api/TTS_MEDIA_CACHE_CA_BUNDLE",
        ]
        assert store.bundles("/voiceai/prod") == dict.fromkeys(names, "")
        for value in ("b25l", "dHdv"):
            for name in names:
                store.publish_bundle(name, value)
            assert store.bundles("/voiceai/prod") == dict.fromkeys(names, value)
        assert ssm.get_parameter(Name=names[0])["Parameter"]["Type"] == "String"


class TestEnvironmentFile:
    def test_it_holds_what_the_services_read_and_nobody_else_may(self, tmp_path: Path):
        path = tmp_path / "media.env"
        variables = {
            "MEDIA_UPLOAD_TOKEN": 'to"k$en',
            "MEDIA_DATA_DIR": "/mnt/media-data",
            "MEDIA_TLS_PRIVKEY_B64": "k",
        }
        write_environment(path, variables)
        assert path.read_text() == 'MEDIA_UPLOAD_TOKEN="to\\"k\\$en"\nMEDIA_DATA_DIR="/mnt/media-data"\n'
        assert path.stat().st_mode & 0o777 == 0o600

    def test_several_lines_are_refused_and_the_old_file_stays(self, tmp_path: Path):
        path = tmp_path / "media.env"
        write_environment(path, {"MEDIA_UPLOAD_TOKEN": "token"})
        with pytest.raises(ConfigurationError, match="several lines"):
            write_environment(path, {"MEDIA_UPLOAD_TOKEN": "token\nLD_PRELOAD=x"})
        assert path.read_text() == 'MEDIA_UPLOAD_TOKEN="token"\n'
        assert [file.name for file in tmp_path.iterdir()] == ["media.env"]


@pytest.mark.parametrize(("euid", "given"), [(0, [4_711]), (1_000, [])])
def test_tokens_are_the_upload_services_to_read_and_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, euid: int, given: list[int]
):
    users = {"livedub-media-upload": SimpleNamespace(pw_uid=4_711)}
    gave: list[int] = []
    monkeypatch.setattr(host_environment.pwd, "getpwnam", users.__getitem__)
    monkeypatch.setattr(host_environment.os, "geteuid", lambda: euid)
    monkeypatch.setattr(host_environment.os, "fchown", lambda _file, uid, _group: gave.append(uid))
    write_tokens(tmp_path / "tokens", {"default": "d" * 32, "voice": "v" * 32})
    assert (tmp_path / "tokens").read_text() == f"default={'d' * 32}\nvoice={'v' * 32}\n"
    assert (tmp_path / "tokens").stat().st_mode & 0o777 == 0o600
    assert gave == given
    # Where there is no such user the file is ours.
    users.clear()
    gave.clear()
    write_tokens(tmp_path / "tokens", {})
    assert ((tmp_path / "tokens").read_text(), gave) == ("", [])
