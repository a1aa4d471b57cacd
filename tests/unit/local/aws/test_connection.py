from __future__ import annotations

import socket
import threading

from local.aws.connection import answering, client_waits


def test_a_client_that_closed_is_gone_and_one_that_talks_on_is_not():
    ours, theirs = socket.socketpair()
    with ours, answering({"werkzeug.socket": ours}):
        assert client_waits()
        theirs.send(b"the next request")
        assert client_waits()
        assert ours.recv(100) == b"the next request"  # it was only looked at
        theirs.close()
        assert not client_waits()


def test_a_connection_of_ours_that_is_closed_has_no_client():
    ours, theirs = socket.socketpair()
    with theirs, answering({"werkzeug.socket": ours}):
        ours.close()
        assert not client_waits()


def test_without_a_connection_nobody_is_missed():
    assert client_waits()
    with answering({}):
        assert client_waits()


def test_each_thread_has_its_own():
    ours, theirs = socket.socketpair()
    theirs.close()
    seen: list[bool] = []
    with ours, answering({"werkzeug.socket": ours}):
        other = threading.Thread(target=lambda: seen.append(client_waits()))
        other.start()
        other.join(10)
        assert not client_waits()
    assert seen == [True]
    assert client_waits()
