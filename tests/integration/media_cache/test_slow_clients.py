"""Clients that stall, drip, leave or never read hold nobody up and are let go within a bound."""

import concurrent.futures
import socket
import time

import pytest

from .conftest import BODY_DEADLINE_MS
from .media_rig import MediaHost, auth, path_of, read_reply, wait_until

BODY = b"x" * 40_000


def begin_put(host: MediaHost, path: str, length: int = 40_000) -> socket.socket:
    connection = host.connect()
    head = (
        f"PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth()['Authorization']}\r\n"
        f"Content-Length: {length}\r\n\r\n"
    )
    connection.sendall(head.encode() + b"z" * 100)
    return connection


def test_a_stalled_upload_is_answered_408(host: MediaHost):
    path = path_of("stalled")
    with begin_put(host, path) as connection:
        assert read_reply(connection).status == 408
    assert not host.file(path).exists()


def test_a_dripping_upload_is_answered_408_however_it_drips(host: MediaHost):
    path = path_of("dripping")
    with begin_put(host, path) as connection:
        connection.settimeout(0.1)
        answer = b""
        end = time.monotonic() + 20 * BODY_DEADLINE_MS / 1_000
        while not answer and time.monotonic() < end:
            connection.sendall(b"z")
            try:
                answer = connection.recv(4_096)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert not host.file(path).exists()


@pytest.mark.parametrize("sent", [0, 100, 39_999])
def test_a_client_that_leaves_publishes_nothing(host: MediaHost, sent: int):
    path = path_of(f"left after {sent}")
    with begin_put(host, path, length=40_000 + 100) as connection:
        connection.sendall(b"z" * sent)
    wait_until(lambda: host.put(path_of("after"), BODY).status in (201, 204), "others are served")
    assert not host.file(path).exists()


def test_stalled_clients_do_not_hold_up_others(host: MediaHost):
    stalled = [begin_put(host, path_of(f"stall {number}")) for number in range(100)]
    try:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            statuses = list(pool.map(lambda n: host.put(path_of(f"beside {n}"), BODY).status, range(20)))
            reads = list(pool.map(lambda n: host.request("GET", path_of(f"beside {n}")).body, range(20)))
        assert statuses == [201] * 20
        assert reads == [BODY] * 20
        assert {read_reply(connection).status for connection in stalled} == {408}
    finally:
        for connection in stalled:
            connection.close()
    assert len([file for file in host.objects() if file.stat().st_size != 40_000]) == 0


def test_an_upload_in_a_thousand_pieces_in_time_is_whole(host: MediaHost):
    path = path_of("in pieces")
    with begin_put(host, path) as connection:
        for _ in range(399):
            connection.sendall(b"z" * 100)
        assert read_reply(connection).status == 201
    assert host.file(path).read_bytes() == b"z" * 40_000


@pytest.mark.slow
def test_slow_heads_and_silent_connections_are_cut(host: MediaHost):
    silent = socket.create_connection(("127.0.0.1", host.port), 20)
    with silent, host.connect(20) as half:
        half.sendall(b"GET / HTTP/1.1\r\nHost: ")
        for connection in (silent, half):
            assert connection.recv(1) == b""
