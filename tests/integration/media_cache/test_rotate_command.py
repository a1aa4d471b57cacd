"""`livedub media tls-init` and `rotate` as an operator runs them: a live Caddy, AWS at another address."""

import base64
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from livedub.media_cache.caddy_admin_client import CaddyError, force_reload, served_fingerprint
from livedub.media_cache.tls_bundle import parse_ca_bundle, ssl_context
from livedub.media_cache.tls_material import (
    TlsMaterial,
    fingerprint,
    read_material,
    self_signed,
    write_material,
)

from .media_rig import ROOT, MediaHost

VOICE = "/voiceai/test/voice/TTS_MEDIA_CACHE_CA_BUNDLE"
API = "/voiceai/test/api/TTS_MEDIA_CACHE_CA_BUNDLE"


def b64(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


def livedub(*arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("MEDIA_", "AWS_", "TTS_"))
    }
    paths = os.pathsep.join([str(ROOT), str(ROOT / "layers/core/python")])
    return subprocess.run(
        [sys.executable, "-m", "livedub.cli.main", "media", *arguments],
        env={**kept, "PYTHONPATH": paths, **env},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


class Aws:
    """SSM and Secrets Manager on loopback."""

    def __init__(self, endpoint: str) -> None:
        self.env = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "eu-west-1",
        }
        names = {"region_name": "eu-west-1", "endpoint_url": endpoint}
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        self.ssm: Any = boto3.client("ssm", **names, **keys)
        self.secrets: Any = boto3.client("secretsmanager", **names, **keys)
        self.secrets.create_secret(Name="voiceai/media/secrets", SecretString="{}")

    def set_chain(self, chain: bytes) -> None:
        name = "/voiceai/media/MEDIA_TLS_FULLCHAIN_B64"
        self.ssm.put_parameter(Name=name, Value=b64(chain), Type="String", Overwrite=True)

    def set_key(self, key: bytes) -> None:
        held = {"MEDIA_TLS_PRIVKEY_B64": b64(key), "MEDIA_UPLOAD_TOKEN": "tok-0123456789abcdef"}
        self.secrets.put_secret_value(SecretId="voiceai/media/secrets", SecretString=json.dumps(held))

    def value(self, name: str) -> str:
        return self.ssm.get_parameter(Name=name)["Parameter"]["Value"]


@pytest.fixture
def aws() -> Iterator[Aws]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        # moto's state is the process's, not the server's.
        request = urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")
        urllib.request.urlopen(request, timeout=20).close()  # noqa: S310 - loopback
        yield Aws(f"http://{host}:{port}")
    finally:
        server.stop()


@pytest.fixture
def env(host: MediaHost, aws: Aws) -> dict[str, str]:
    return {
        **aws.env,
        "MEDIA_SETTINGS_SOURCE": "aws",
        "NAMESPACE": "voiceai",
        "MEDIA_CONSUMER_PREFIX": "/voiceai/test",
        "MEDIA_TLS_CERT_HOST_PATH": str(host.tls_path),
        "MEDIA_CADDY_ADMIN_SOCKET": str(host.run_dir / "admin.sock"),
        "MEDIA_HTTPS_ADDRESS": f"127.0.0.1:{host.port}",
    }


def served(host: MediaHost) -> str:
    return served_fingerprint(f"127.0.0.1:{host.port}")


def sha(material: TlsMaterial) -> str:
    return fingerprint(material.fullchain_pem)


@pytest.mark.slow
class TestRotate:
    def test_a_pair_from_aws_is_announced_and_served(self, host: MediaHost, aws: Aws, env: dict[str, str]):
        before, new = served(host), self_signed(["127.0.0.1"])
        aws.set_key(new.privkey_pem)
        aws.set_chain(new.fullchain_pem)
        done = livedub("rotate", env=env)
        assert done.returncode == 0, done.stderr
        assert served(host) == sha(new)
        assert f"{sha(new)} is served, {before} was" in done.stdout
        assert aws.value(VOICE) == aws.value(API)
        bundle = parse_ca_bundle(aws.value(VOICE))
        assert set(bundle.fingerprints) == {before, sha(new)}
        host.variables["TTS_MEDIA_CACHE_CA_BUNDLE"] = aws.value(VOICE)
        assert host.request("GET", "/health").status == 200

        assert livedub("rotate", "--drop-old", env=env).returncode == 0
        assert parse_ca_bundle(aws.value(VOICE)).fingerprints == (sha(new),)

    def test_half_a_pair_is_never_served_and_awaited_where_asked(
        self, host: MediaHost, aws: Aws, env: dict[str, str]
    ):
        old, new = read_material(host.tls_path / "tls"), self_signed(["127.0.0.1"])
        assert old is not None
        aws.set_key(old.privkey_pem)
        aws.set_chain(new.fullchain_pem)
        done = livedub("rotate", env=env)
        assert done.returncode == 2
        assert "does not belong" in done.stderr
        assert served(host) == sha(old)
        assert read_material(host.tls_path / "tls") == old
        aws.set_key(new.privkey_pem)
        assert livedub("rotate", "--wait", "30", env=env).returncode == 0
        assert served(host) == sha(new)

    def test_a_renewal_by_an_authority_of_its_own(self, host: MediaHost, aws: Aws, env: dict[str, str]):
        env |= {"PRIVATE_IP": "127.0.0.1"}
        fingerprints = set[str]()
        announced: list[bool] = []
        for _ in range(2):
            done = livedub("rotate", "--renew", "--private-ca", env=env)
            assert done.returncode == 0, done.stderr
            fingerprints.add(served(host))
            announced.append("changed" in done.stdout)
            ca = parse_ca_bundle((host.tls_path / "tls" / "ca-for-clients.pem").read_text())
            host.variables["TTS_MEDIA_CACHE_CA_BUNDLE"] = b64(ca.pem.encode())
            assert host.request("GET", "/health").status == 200
        assert len(fingerprints) == 2
        assert announced == [True, False]

    def test_without_caddy_the_old_pair_stays(
        self, host: MediaHost, aws: Aws, env: dict[str, str], tmp_path: Path
    ):
        old, new = read_material(host.tls_path / "tls"), self_signed(["127.0.0.1"])
        aws.set_key(new.privkey_pem)
        aws.set_chain(new.fullchain_pem)
        done = livedub("rotate", env=env | {"MEDIA_CADDY_ADMIN_SOCKET": str(tmp_path / "none.sock")})
        assert done.returncode == 2
        assert "admin API" in done.stderr
        assert read_material(host.tls_path / "tls") == old


def test_caddy_refuses_half_a_pair_and_goes_on(host: MediaHost):
    old = read_material(host.tls_path / "tls")
    assert old is not None
    write_material(
        host.tls_path / "tls", TlsMaterial(self_signed(["127.0.0.1"]).fullchain_pem, old.privkey_pem)
    )
    try:
        with pytest.raises(CaddyError, match="answers 400 to POST /load"):
            force_reload(host.run_dir / "admin.sock")
        assert served(host) == sha(old)
    finally:
        write_material(host.tls_path / "tls", old)


class TestInit:
    def test_the_printed_bundle_is_all_that_is_printed(self, tmp_path: Path):
        env = {"MEDIA_TLS_CERT_HOST_PATH": str(tmp_path), "PRIVATE_IP": "10.0.1.30"}
        done = livedub("tls-init", "--print-bundle", env=env)
        assert done.returncode == 0, done.stderr
        (line,) = done.stdout.splitlines()
        assert base64.b64decode(line) == (tmp_path / "tls" / "ca-for-clients.pem").read_bytes()
        ssl_context(parse_ca_bundle(line))
        assert "self-signed" in done.stderr

    def test_one_variable_alone_is_a_warning(self, tmp_path: Path):
        env = {
            "MEDIA_TLS_CERT_HOST_PATH": str(tmp_path),
            "PRIVATE_IP": "10.0.1.30",
            "MEDIA_TLS_PRIVKEY_B64": "x",
        }
        done = livedub("tls-init", env=env)
        assert done.returncode == 0
        assert "warning: MEDIA_TLS_PRIVKEY_B64 is set and MEDIA_TLS_FULLCHAIN_B64 is not" in done.stderr

    def test_what_the_services_read_is_fetched(self, aws: Aws, tmp_path: Path):
        aws.set_key(b"")
        aws.ssm.put_parameter(
            Name="/voiceai/media/MEDIA_TLS_CERT_HOST_PATH", Value=str(tmp_path / "m"), Type="String"
        )
        env = {**aws.env, "MEDIA_SETTINGS_SOURCE": "aws", "NAMESPACE": "voiceai", "PRIVATE_IP": "10.0.1.30"}
        done = livedub("tls-init", "--write-env", str(tmp_path / "media.env"), env=env)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "m" / "tls" / "privkey.pem").exists()
        assert 'MEDIA_UPLOAD_TOKEN="tok-0123456789abcdef"' in (tmp_path / "media.env").read_text()

    def test_aws_without_a_namespace_is_said(self):
        done = livedub("tls-init", env={"MEDIA_SETTINGS_SOURCE": "aws"})
        assert done.returncode == 2
        assert "NAMESPACE" in done.stderr
