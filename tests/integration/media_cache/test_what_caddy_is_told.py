"""What a client gets of TLS and HTTP, and the bounds that no test waits for."""

import json
import os
import socket
import ssl
import subprocess
from typing import Any

import pytest

from media_edge.cache.caddy_program import caddy_program
from media_edge.cache.host_start import CADDYFILE

from .media_rig import MediaHost


def shake_hands(host: MediaHost, version: ssl.TLSVersion, alpn: list[str]) -> ssl.SSLSocket:
    context = host.context()
    context.set_ciphers("ALL:@SECLEVEL=0")  # whatever this machine's own policy says
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(alpn)
    plain = socket.create_connection(("127.0.0.1", host.port), 30)
    try:
        return context.wrap_socket(plain, server_hostname="127.0.0.1")
    except BaseException:
        plain.close()
        raise


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_http_1_alone_is_spoken_over_tls_1_2_and_later(host: MediaHost, version: ssl.TLSVersion):
    with shake_hands(host, version, ["h2", "http/1.1"]) as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_older_tls_is_refused_by_the_server(host: MediaHost, version: ssl.TLSVersion):
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        shake_hands(host, version, ["http/1.1"]).close()


def test_the_certificate_is_ecdsa(host: MediaHost):
    with shake_hands(host, ssl.TLSVersion.TLSv1_2, ["http/1.1"]) as connection:
        cipher = connection.cipher()
    assert cipher
    assert "ECDSA" in cipher[0]


@pytest.fixture(scope="module")
def adapted() -> dict[str, Any]:
    """The Caddyfile as Caddy reads it, with nothing set."""
    done = subprocess.run(
        [caddy_program(""), "adapt", "--config", str(CADDYFILE), "--adapter", "caddyfile"],
        env={name: value for name, value in os.environ.items() if not name.startswith("MEDIA_")},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


def https_server(adapted: dict[str, Any]) -> dict[str, Any]:
    (server,) = (
        server
        for server in adapted["apps"]["http"]["servers"].values()
        if server["listen"] == ["0.0.0.0:8443"]
    )
    return server


def test_heads_bodies_answers_and_idle_connections_are_bounded(adapted: dict[str, Any]):
    server = https_server(adapted)
    seconds = {name: server[f"{name}_timeout"] / 1e9 for name in ("read_header", "read", "write", "idle")}
    assert seconds == {"read_header": 5, "read": 20, "write": 60, "idle": 75}
    assert server["max_header_bytes"] <= 10_000
    assert server["enable_full_duplex"] is True
    assert server["protocols"] == ["h1"]


def test_administration_is_a_socket_of_its_owners_and_certificates_are_nobody_elses(adapted: dict[str, Any]):
    assert adapted["admin"]["listen"] == "unix//run/livedub-media-caddy/admin.sock|0600"
    assert adapted["admin"]["config"] == {"persist": False}
    assert https_server(adapted)["automatic_https"] == {"disable": True}
    assert list(adapted["apps"]["tls"]["certificates"]) == ["load_files"]
    assert "automation" not in adapted["apps"]["tls"]


def test_only_the_cache_is_served_to_others(adapted: dict[str, Any]):
    listened = {
        address for server in adapted["apps"]["http"]["servers"].values() for address in server["listen"]
    }
    assert listened == {"0.0.0.0:8443", "127.0.0.1:9181"}
