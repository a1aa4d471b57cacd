"""What rotation builds on: Caddy takes new files only when it is forced to, and drops nobody in doing so."""

import http.client
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from media_edge.cache.host_start import CADDYFILE
from media_edge.cache.served_certificate import served_certificate

from .media_rig import MediaHost, auth, exchange, path_of, read_reply, wait_until

CADDY = Path(sys.executable).with_name("caddy")


def caddy_reload(host: MediaHost, *options: str):
    environment = {}
    for entry in Path(f"/proc/{host.children()['caddy']}/environ").read_bytes().split(b"\0"):
        name, _, value = entry.decode().partition("=")
        environment[name] = value
    command = [str(CADDY), "reload", "--config", str(CADDYFILE), "--adapter", "caddyfile"]
    address = ["--address", f"unix/{host.run_dir / 'admin.sock'}"]
    subprocess.run(
        [*command, *address, *options], env=environment, check=True, timeout=30, capture_output=True
    )


def serves(host: MediaHost, certificate: bytes) -> bool:
    return served_certificate("127.0.0.1", host.port).public_bytes(Encoding.DER) == certificate


def test_a_reload_without_force_succeeds_and_changes_nothing(host: MediaHost):
    fresh = host.new_certificate()
    caddy_reload(host)
    assert not serves(host, fresh)
    caddy_reload(host, "--force")
    wait_until(lambda: serves(host, fresh), "the new certificate is served")


@pytest.mark.parametrize("number", range(2))
def test_an_upload_under_way_outlives_a_forced_reload(host: MediaHost, number: int):
    path = path_of(f"across a reload {number}")
    caddy_reload(host, "--force")
    # The bundle in the host's variables is its first certificate's: this connection is opened by hand.
    context = ssl.create_default_context(cafile=str(host.tls_path / "tls" / "ca-for-clients.pem"))
    plain = socket.create_connection(("127.0.0.1", host.port), 30)
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
        head = (
            f"PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth()['Authorization']}\r\n"
            "Content-Length: 40000\r\nExpect: 100-continue\r\n\r\n"
        )
        connection.sendall(head.encode())
        # Only now it is under way: a connection on which nothing was read yet may be cut off by a reload.
        assert connection.recv(1_000).startswith(b"HTTP/1.1 100 Continue\r\n")
        connection.sendall(b"z" * 20_000)
        rotate(host)
        connection.sendall(b"z" * 20_000)
        assert read_reply(connection).status == 201
    assert host.file(path).read_bytes() == b"z" * 40_000


class Reader(threading.Thread):
    """Reads one object over and over.

    It forgives a connection that ends without an answer, in its handshake or after it, but not three in a row.
    """

    def __init__(self, port: int, path: str, stop: threading.Event) -> None:
        super().__init__()
        self._port, self._path, self._stop_asked = port, path, stop
        self.wrong: list[str] = []
        self.served = 0
        self._ended_in_a_row = 0

    def run(self) -> None:
        while not self._stop_asked.is_set() and not self.wrong:
            # Trusts whatever is served: the certificate changes while it reads.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=30, context=context)
            try:
                self._use(connection)
            finally:
                connection.close()

    def _use(self, connection: http.client.HTTPSConnection) -> None:
        while not self._stop_asked.is_set():
            try:
                got = exchange(connection, "GET", self._path)
            except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError) as error:
                self._ended_in_a_row += 1
                if self._ended_in_a_row == 3:
                    self.wrong.append(f"thrice in a row: {error!r}")
                return
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(repr(error))
                return
            if (got.status, len(got.body)) != (200, 40_000):
                self.wrong.append(f"{got.status} with {len(got.body)} bytes")
            self.served += 1
            self._ended_in_a_row = 0


def test_readers_see_whole_answers_or_none(host: MediaHost):
    path = path_of("read across reloads")
    host.file(path).write_bytes(b"y" * 40_000)
    stop = threading.Event()
    readers = [Reader(host.port, path, stop) for _ in range(4)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(3):
            before = [reader.served for reader in readers]
            rotate(host)
            wait_until(lambda before=before: _all_went_on(readers, before), "readers go on")
    finally:
        stop.set()
        for reader in readers:
            reader.join(30)
    assert [reader.wrong for reader in readers] == [[]] * 4


def _all_went_on(readers: list[Reader], before: list[int]) -> bool:
    return all(reader.served > count for reader, count in zip(readers, before, strict=True))


def rotate(host: MediaHost):
    fresh = host.new_certificate()
    caddy_reload(host, "--force")
    wait_until(lambda: serves(host, fresh), "the new certificate is served")
