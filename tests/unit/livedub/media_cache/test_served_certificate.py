"""How long the certificate that is served is still good, seen over a real connection."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from livedub.media_cache.private_ca import PrivateCa
from livedub.media_cache.served_certificate import days_left

_WAIT_S = 10.0


@contextmanager
def serving(folder: Path, days: int) -> Iterator[str]:
    """Somebody who shakes hands, until the block ends; the base URL."""
    material = PrivateCa.create().issue_leaf(["127.0.0.1"], days=days)
    pair = folder / f"{days}.pem"
    pair.write_bytes(material.fullchain_pem + b"\n" + material.privkey_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connection.settimeout(_WAIT_S)
                with suppress(OSError), context.wrap_socket(connection, server_side=True) as shaken:
                    shaken.recv(1)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.getsockname()[1]}"
        finally:
            # Closing alone would leave the thread in accept().
            server.shutdown(socket.SHUT_RDWR)
            thread.join(_WAIT_S)


def test_it_is_the_one_that_ends_first(tmp_path: Path):
    now = datetime.now(timezone.utc)
    with serving(tmp_path, 9) as soon, serving(tmp_path, 30) as late:
        assert days_left([late], now) == pytest.approx(30, abs=0.1)
        assert days_left([late, soon], now) == pytest.approx(9, abs=0.1)
        assert days_left([soon], now + timedelta(days=10)) == pytest.approx(-1, abs=0.1)


def test_a_host_that_does_not_answer_says_nothing(tmp_path: Path):
    now = datetime.now(timezone.utc)
    with serving(tmp_path, 9) as gone:
        pass
    assert days_left([gone], now) is None
    assert days_left(["http://127.0.0.1:1", ""], now) is None
    assert days_left([], now) is None


def test_a_host_without_tls_says_nothing():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            server.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        url = f"https://127.0.0.1:{server.getsockname()[1]}"
        assert days_left([url], datetime.now(timezone.utc)) is None
        thread.join(_WAIT_S)
