"""Handshakes with a host that ends connections as a reload of Caddy does, over loopback."""

import base64
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from livedub.media_cache.caddy_admin_client import CaddyError, served_fingerprint
from livedub.media_cache.private_ca import PrivateCa
from livedub.media_cache.tls_material import TlsMaterial, fingerprint
from livedub.media_cache.tls_rotation.probe import ServedTls

_WAIT_S = 10.0
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER so that closing resets the connection."""


@pytest.fixture(scope="module")
def material() -> TlsMaterial:
    return PrivateCa.create().issue_leaf(["127.0.0.1"])


def bundle(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


@contextmanager
def cutting_off(folder: Path, material: TlsMaterial, how: list[str]) -> Iterator[tuple[int, list[str]]]:
    """The port of somebody who ends the first connections as `how` says, and what became of each."""
    pair = folder / "pair.pem"
    pair.write_bytes(material.fullchain_pem + b"\n" + material.privkey_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    ends: list[str] = []

    def answer(connection: socket.socket, end: str) -> None:
        ends.append(end)
        with connection, suppress(OSError):
            connection.settimeout(_WAIT_S)
            if end == "served":
                with context.wrap_socket(connection, server_side=True) as tls:
                    tls.recv(1)
            else:
                connection.recv(4_096)
                if end == "reset":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            left = list(how)
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                answer(connection, left.pop(0) if left else "served")

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1], ends
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(_WAIT_S)


@pytest.mark.parametrize("how", [["reset"], ["ended"], ["reset", "ended"]], ids="-".join)
def test_a_handshake_that_is_cut_off_is_done_anew(tmp_path: Path, material: TlsMaterial, how: list[str]):
    with cutting_off(tmp_path, material, how) as (port, ends):
        assert served_fingerprint(f"127.0.0.1:{port}") == fingerprint(material.fullchain_pem)
    assert ends == [*how, "served"]
    with cutting_off(tmp_path, material, how) as (port, ends):
        assert ServedTls("127.0.0.1", port).distrust(bundle(material.ca_pem)) == ""
    assert ends == [*how, "served"]


def test_thrice_in_a_row_is_no_accident(tmp_path: Path, material: TlsMaterial):
    with (
        cutting_off(tmp_path, material, ["reset"] * 3) as (port, ends),
        pytest.raises(CaddyError, match="reset"),
    ):
        served_fingerprint(f"127.0.0.1:{port}")
    assert ends == ["reset"] * 3


def test_a_certificate_that_is_not_trusted_is_no_accident_either(tmp_path: Path, material: TlsMaterial):
    with cutting_off(tmp_path, material, []) as (port, ends):
        assert ServedTls("127.0.0.1", port).distrust(bundle(PrivateCa.create().pem)) != ""
    assert ends == ["served"]
